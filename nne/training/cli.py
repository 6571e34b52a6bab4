"""Check a whole command line before any work: unknown names, wrong types and impossible values, one line each.

Hydra composes; this asks it to compose every job that the line describes (all of a sweep's), and turns what is
wrong into a ``UserError`` with the nearest right name. ``schemas`` are registered here as well, so that the YAML
under ``configs/`` is checked as it is read. Imports nothing heavy.
"""

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nne.training.config import CHOICE, GROUPS, Config, documented_keys, typed
from nne.training.cores import cores
from nne.training.errors import UserError, exit_code, require
from nne.training.plugin import is_path

LONGEST_NAME = 120  # of a folder; file systems allow twice as much
PATHS = ("resume", "run_dir", "data.root", "learner.evolved")


@dataclass(frozen=True)
class Job:
    """One run that a command line asks for.

    ``folder`` and ``number``: its own, if it is part of a sweep; ``side_by_side``: how many of them run at once here.
    """

    experiment: str
    config: Config
    overrides: list[str]
    folder: Path | None = None
    number: int = 0
    side_by_side: int = 1


def register(learners: dict[str, Any]) -> None:
    """Make the dataclasses known to Hydra: ``schema``, ``data/schema_data``, ``learner/schema_<name>`` ..."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, schema in GROUPS.items():
        store.store(group=group, name=f"schema_{group}", node=schema)
    for name, schema in learners.items():
        store.store(group="learner", name=f"schema_{name}", node=schema)


def understood(arguments: list[str], configs: Path) -> list[str]:
    """The same command line as Hydra takes it.

    Paths that hold ``=``, as the folders of a sweep's jobs do, stand in quotes; ``sweep.resume=true`` is
    ``resume=auto`` for every job; ``--config-dir`` and ``local`` below ``configs`` are on Hydra's search path.
    """
    arguments = _with_own_configs(arguments, configs / "local")
    meaning = {"sweep.resume=true": ["resume=auto"], "sweep.resume=false": []}
    arguments = [word for argument in arguments for word in meaning.get(argument.lower(), [argument])]
    bare = re.compile(rf"({'|'.join(map(re.escape, PATHS))})=([^'\"]*=[^'\"]*)")
    return [bare.sub(r"\1='\2'", argument) if bare.fullmatch(argument) else argument for argument in arguments]


def _with_own_configs(arguments: list[str], local: Path) -> list[str]:
    kept, places = list[str](), [local] if local.is_dir() else list[Path]()
    given = iter(arguments)
    for argument in given:
        name, _, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            places.append(Path(value or next(given, "")).expanduser().absolute())
        else:
            kept.append(argument)
    found = ",".join(f"'file://{place}'" for place in places)
    return [*kept, f"hydra.searchpath=[{found}]"] if places else kept


def options(arguments: list[str], known: dict[str, str | None]) -> dict[str, str]:
    """The ``key=value`` arguments of a script, over its defaults; a key whose default is None must be given.

    Raises:
        UserError: with one line that names the culprit.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    for argument in arguments:
        require("=" in argument, f"{argument}: give key=value; the keys are {', '.join(known)}")
    for name in given:
        require(name in known, f"there is no key {name}{_nearest(name, list(known))}")
    found = {**known, **given}
    missing = [name for name, value in found.items() if value is None]
    require(not missing, f"{' and '.join(missing)} must be given, as in {' '.join(f'{name}=...' for name in missing)}")
    return {name: str(value) for name, value in found.items()}


def script(page: str, work: Callable[[list[str]], object]) -> int:
    """Do a script's work with its arguments, or print its page of help; the exit code is 2 for a user's error."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(page)
        return 0
    return exit_code(lambda: work(sys.argv[1:]))


def sweep_folder(overrides: list[str], sweep: str = "") -> str:
    """The folder of a sweep's job, named by what it overrides, whatever the order, so that it can be found again.

    The experiment is left out where the ``sweep`` folder is already named after it.
    """
    unsaid = {"resume", *(f"experiment={part}" for part in Path(sweep).parts)}
    named = sorted(o for o in overrides if o not in unsaid and o.split("=", 1)[0] not in unsaid)
    name = ",".join(named) or "defaults"
    name = name.replace("/", "_")
    if len(name) <= LONGEST_NAME:
        return name
    seed = "".join(f",{o}" for o in named if o.startswith("seed="))  # what people look for
    return f"{name[:80]}...{seed},{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def started() -> str:
    """When the command began; processes that it starts have it from their environment."""
    return os.environ.setdefault("NNE_STARTED", time.strftime("%Y-%m-%d_%H-%M-%S"))


# As this module is imported, since the processes of a sweep need them before they call anything.
OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
OmegaConf.register_new_resolver("started", started, replace=True)


def check(overrides: list[str], multirun: bool, configs: Path, learners: dict[str, Any]) -> list[Job]:
    """Every job of a command line, composed and checked.

    Args:
        overrides: what stands on the command line, e.g. ``["experiment=nne_mnist10", "learner.genes=500,1000"]``.
        multirun: whether commas separate jobs.
        configs: the folder of configurations.
        learners: the schema of each learner, by name.

    Raises:
        UserError: with one line that names the culprit.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(configs.resolve()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        try:
            parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides)
        except HydraException as error:
            raise UserError(str(error).splitlines()[0]) from error
        _register_own(parsed, learners)
        known = known_keys(learners)
        places = _own_configs(parsed)
        for override in parsed:
            _check_name(override, loader, known, places)
        batches = BasicSweeper.split_arguments(parsed, None) if multirun else [[overrides]]
        return [_job(job, multirun) for batch in batches for job in batch]


def _own_configs(overrides: list[Override]) -> list[Path]:
    """The folders on Hydra's search path that the command line gives."""
    given = [override.value() for override in overrides if override.key_or_group == "hydra.searchpath"]
    listed = [str(place) for places in given if isinstance(places, list) for place in places]
    found = [Path(place.removeprefix("file://")) for place in listed if not place.startswith("pkg://")]
    for place in found:
        require(place.is_dir(), f"there is no folder of configurations {place}")
    return found


def _register_own(overrides: list[Override], learners: dict[str, Any]) -> None:
    """Make learners of the user's own choices like any other."""
    for override in overrides:
        if override.key_or_group == "learner":
            asked = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
            for name in filter(is_path, asked):
                ConfigStore.instance().store(group="learner", name=str(name), node=learners[str(name)])


def known_keys(learners: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """Every key there is, with its default and its meaning."""
    keys = documented_keys(Config)
    for schema in learners.values():
        keys |= documented_keys(schema, "learner.")
    return keys


def _check_name(override: Override, loader: ConfigLoader, known: dict[str, Any], places: list[Path]) -> None:
    name = override.key_or_group
    require(not override.is_delete(), f"{name} cannot be deleted; set it to another value")
    above, _, last = name.rpartition("/")
    if last in loader.list_groups(above):
        options = [o for o in loader.get_group_options(name, ObjectType.CONFIG) if not o.startswith("schema_")]
        options += [file.stem for place in places for file in (place / name).glob("*.yaml")]
        asked = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
        for option in asked:
            require(option in options, f"there is no {name}={option}{_nearest(str(option), options)}")
        return
    if name.startswith("hydra."):
        return
    require(name in known, f"there is no key {name}{_nearest(name, list(known))}")


def _nearest(name: str, choices: list[str]) -> str:
    """The likeliest right name; the last part of a dotted one counts by itself too."""

    def likeness(choice: str) -> float:
        pairs = (name, choice), (name.rsplit(".", 1)[-1], choice.rsplit(".", 1)[-1])
        return max(SequenceMatcher(None, *pair).ratio() for pair in pairs)

    best = max(choices, key=likeness)
    return f"; did you mean {best}?" if likeness(best) >= 0.6 else f"; there are: {', '.join(sorted(choices))}"


def _job(overrides: list[str], in_sweep: bool) -> Job:
    own = [override for override in overrides if not override.startswith("hydra")]
    try:
        composed = compose("train", overrides, return_hydra_config=True)
        experiment = composed.hydra.runtime.choices.experiment
        OmegaConf.set_struct(composed, False)
        composed["own"] = own
        own = list(composed.own)  # with what ${seed} stands for, as Hydra names a job's folder
        folder = Path(composed.hydra.sweep.dir, sweep_folder(own, composed.hydra.sweep.dir)) if in_sweep else None
        asked = composed.hydra.launcher.get("n_jobs", 1)
        side_by_side = asked if asked > 0 else max(cores() + 1 + asked, 1)  # joblib's -1: all cores
        del composed["hydra"], composed["own"]
        for part in CHOICE:
            kept = f"{part}=none" in overrides and composed[part] is not None
            require(not kept, f"{part}=none: experiment={experiment} sets keys of {part}, so it cannot go without")
        return Job(experiment, typed(composed), own, folder, side_by_side=side_by_side)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_first_cause(error)) from error
    except AssertionError as error:  # OmegaConf's, at a key of a part that is null
        names = [o.lstrip("+").split("=")[0] for o in overrides]
        absent = [name for name in names if name.split(".")[0] in CHOICE]
        require(not absent, f"{', '.join(absent)}: this experiment has no such part (choose one as in {_choices()})")
        raise error


def _choices() -> str:
    return ", ".join(f"{part}={choice}" for part, choice in CHOICE.items())


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None and not isinstance(error, OmegaConfBaseException):
        error = error.__cause__
    line, *more = str(error).strip().splitlines()
    if line.endswith(":") and more:  # a heading: what it announces comes next
        line = f"{line} {more[0]}"
    culprit = getattr(error, "full_key", None)
    return f"{culprit}: {line}" if culprit else line
