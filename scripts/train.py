"""Train one experiment, or sweep over many: `python scripts/train.py experiment=nne_mnist10`."""

import sys

from nne.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
