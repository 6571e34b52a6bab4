"""What this machine has and what works on it: `python scripts/doctor.py`."""

import sys

from nne.commands.doctor import main

if __name__ == "__main__":
    sys.exit(main())
