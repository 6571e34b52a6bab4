"""The command ``nne``: ``nne train experiment=nne_mnist10`` is ``python scripts/train.py experiment=nne_mnist10``."""

import sys
from importlib import import_module

COMMANDS = ("train", "evaluate", "predict", "export", "doctor")


def main() -> int:
    """Run the command that is named first; the exit code is 2 for a user's error."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(f"nne {{{','.join(COMMANDS)}}} ...; nne COMMAND --help says more")
        return 0
    if name not in COMMANDS:
        print(f"error: there is no command {name}; the commands are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    sys.argv = [f"{sys.argv[0]} {name}", *arguments]
    code: int = import_module(f"nne.commands.{name}").main()
    return code
