"""What a person types, read as it is meant: paths with any letters, dashes and spaces in the wrong place.

Imports nothing heavy.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import fields
from difflib import SequenceMatcher
from pathlib import Path

from nne.training.config import Config
from nne.training.errors import exit_code, require

PATHS = ("resume", "run_dir", "data.root", "data.path", "learner.evolved")
WORDS = ("experiment", *(entry.name for entry in fields(Config)))


def normalise_overrides(arguments: list[str], configs: Path) -> list[str]:
    """The same command line as Hydra takes it.

    Paths that hold ``=``, as the folders of a sweep's jobs do, or letters that Hydra does not know, stand in quotes;
    ``~`` is the home; ``sweep.resume=true`` is ``resume=auto`` for every job; ``--config-dir`` and ``local`` below
    ``configs`` are on Hydra's search path.

    Raises:
        UserError: a key with dashes, or an ``=`` with spaces around it.
    """
    for argument in arguments:
        name = re.match(r"--?([\w.]+)", argument)
        dashed = name is not None and name[1].split(".")[0] in WORDS
        require(not dashed, f"{argument}: keys have no dashes; write {argument.lstrip('-').partition('=')[0]}=...")
        require(argument != "=", "a key, = and its value are written without spaces: key=value")
    arguments = _with_own_configs(arguments, configs / "local")
    meaning = {"sweep.resume=true": ["resume=auto"], "sweep.resume=false": []}
    words = [word for argument in arguments for word in meaning.get(argument.lower(), [argument])]
    return [_quoted(word) for word in words]


def _quoted(argument: str) -> str:
    """With quotes round a value that Hydra could not read without."""
    name, equals, value = argument.partition("=")
    if not equals or value[:1] in ("'", '"', "[", "{"):
        return argument
    if name in PATHS and value.startswith("~"):
        value = str(Path(value).expanduser())
    if value.isascii() and not (name in PATHS and set(value) & set("= '\"")):
        return f"{name}={value}"
    escaped = value.replace("'", "\\'")
    return f"{name}='{escaped}'"


def _with_own_configs(arguments: list[str], local: Path) -> list[str]:
    kept, places = list[str](), [local] if local.is_dir() else list[Path]()
    given = iter(arguments)
    for argument in given:
        name, _, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            places.append(Path(value or next(given, "")).expanduser().absolute())
        else:
            kept.append(argument)
    urls = ",".join(f"'file://{place}'" for place in places)
    return [*kept, f"hydra.searchpath=[{urls}]"] if places else kept


def options(arguments: list[str], known: dict[str, str | None]) -> dict[str, str]:
    """The ``key=value`` arguments of a script, over its defaults; a key whose default is None must be given.

    Raises:
        UserError: with one line that names the culprit.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    for argument in arguments:
        require("=" in argument, f"{argument}: give key=value; the keys are {', '.join(known)}")
    for name in given:
        require(name in known, f"there is no key {name}{nearest(name, list(known))}")
    values = {**known, **given}
    missing = [name for name, value in values.items() if value is None]
    require(not missing, f"{' and '.join(missing)} must be given, as in {' '.join(f'{name}=...' for name in missing)}")
    return {name: str(value) for name, value in values.items()}


def script(page: str, work: Callable[[list[str]], object]) -> int:
    """Do a script's work with its arguments, or print its page of help; the exit code is 2 for a user's error."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(page)
        return 0
    return exit_code(lambda: work(sys.argv[1:]))


def nearest(name: str, choices: list[str]) -> str:
    """The likeliest right name; the last part of a dotted one counts by itself too."""

    def likeness(choice: str) -> float:
        pairs = (name, choice), (name.rsplit(".", 1)[-1], choice.rsplit(".", 1)[-1])
        return max(SequenceMatcher(None, one.lower(), other.lower()).ratio() for one, other in pairs)

    best = max(choices, key=likeness)
    return f"; did you mean {best}?" if likeness(best) >= 0.6 else f"; there are: {', '.join(sorted(choices))}"
