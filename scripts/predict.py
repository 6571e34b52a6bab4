"""What a run takes your own digits for: `python scripts/predict.py run=PATH digit.png ...`."""

import sys

from nne.commands.predict import main

if __name__ == "__main__":
    sys.exit(main())
