"""What a run takes your own digits for: `python scripts/doctor.py run=PATH digit.png ...`."""

import sys

from nne.commands.doctor import main

if __name__ == "__main__":
    sys.exit(main())
