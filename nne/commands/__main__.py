"""``python -m nne.commands train ...``, as ``torchrun -m`` calls it."""

import sys

from nne.commands import main

sys.exit(main())
