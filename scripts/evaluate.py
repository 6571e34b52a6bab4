"""What a run has learnt, class by class: `python scripts/evaluate.py run=PATH [split=test|train]`."""

import sys

from nne.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
