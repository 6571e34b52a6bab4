"""What a run has learnt, for others to use: `python scripts/export.py run=PATH [out=PATH/export]`."""

import sys

from nne.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
