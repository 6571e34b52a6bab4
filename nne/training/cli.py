"""Check a whole command line before any work: unknown names, wrong types and impossible values, one line each.

Hydra composes; this asks it to compose every job that the line describes (all of a sweep's), and turns what is
wrong into a ``UserError`` with the nearest right name. ``schemas`` are registered here as well, so that the YAML
under ``configs/`` is checked as it is read. Imports nothing heavy.
"""

import hashlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec
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
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nne.training.arguments import nearest
from nne.training.config import CHOICE, GROUPS, LOGGERS, Config, documented_keys, typed
from nne.training.cores import cores
from nne.training.errors import UserError, require
from nne.training.plugin import is_path

WORDS = {  # of OmegaConf, and ours
    "is not Optional$": "must have a value, got null",
    "^Value '(.*)' of type .* could not be converted to Integer$": r"must be a whole number, got \1",
    "^Value '(.*)' of type .* could not be converted to Float$": r"must be a number, got \1",
    r"^Value '(.*)' is not a valid bool \(": r"must be true or false, got \1",
    "is not a ListConfig, list or tuple": "must be a list, as in [one,two]",
}
LONGEST_NAME = 120  # of a folder; file systems allow twice as much


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
        parser = OverridesParser.create(config_loader=loader)
        parsed = [_parsed(override, multirun, parser) for override in overrides]
        _register_own(parsed, learners)
        known = known_keys(learners)
        places = _own_configs(parsed)
        for override in parsed:
            _check_name(override, loader, known, places)
        batches = BasicSweeper.split_arguments(parsed, None) if multirun else [[overrides]]
        return [_job(job, multirun) for batch in batches for job in batch]


def _parsed(override: str, multirun: bool, parser: OverridesParser) -> Override:
    try:
        (parsed,) = parser.parse_overrides([override])
    except HydraException as error:
        raise UserError(f"{override} cannot be read; write key=value, values with spaces or = in quotes") from error
    several = parsed.is_sweep_override() and not multirun
    require(not several, f"{override} gives several values; add -m to run a sweep over them")
    return parsed


def _own_configs(overrides: list[Override]) -> list[Path]:
    """The folders on Hydra's search path that the command line gives."""
    given = [override.value() for override in overrides if override.key_or_group == "hydra.searchpath"]
    listed = [str(place) for places in given if isinstance(places, list) for place in places]
    folders = [Path(place.removeprefix("file://")) for place in listed if not place.startswith("pkg://")]
    for place in folders:
        require(place.is_dir(), f"there is no folder of configurations {place}")
    return folders


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
        for option in ("null" if given is None else given for given in asked):
            require(option in options, f"there is no {name}={option}{nearest(str(option), options)}")
        return
    instead = {"hydra.run.dir": "run_dir=PATH", "learner.name": "learner=NAME"}.get(name)
    require(instead is None, f"{name} cannot be set; use {instead}")
    if name.startswith("hydra."):
        return
    require(name in known, f"there is no key {name}{nearest(name, list(known))}")


def _job(overrides: list[str], in_sweep: bool) -> Job:
    overridden = [override for override in overrides if not override.startswith("hydra")]
    try:
        composed = compose("train", overrides, return_hydra_config=True)
        experiment = composed.hydra.runtime.choices.experiment
        _refuse_keys_of_absent_parts(overrides, composed)  # again, since python -O makes no assertions
        OmegaConf.set_struct(composed, False)
        composed["own"] = overridden
        overridden = list(composed.own)  # with what ${seed} stands for, as Hydra names a job's folder
        folder = (
            Path(composed.hydra.sweep.dir, sweep_folder(overridden, composed.hydra.sweep.dir)) if in_sweep else None
        )
        require(not (in_sweep and composed.run_dir), "run_dir is of one run; a sweep's folder is hydra.sweep.dir=PATH")
        slurm = "SlurmLauncher" in composed.hydra.launcher.get("_target_", "")
        require(not slurm or shutil.which("srun") is not None, "hydra/launcher=slurm: there is no Slurm here (no srun)")
        for name in composed.trainer.logger:
            missing = [package for package in LOGGERS.get(name, []) if not find_spec(package)]
            require(not missing, f"trainer.logger={name} is not installed: pip install -e '.[loggers]'")
        asked = composed.hydra.launcher.get("n_jobs", 1)
        side_by_side = asked if asked > 0 else max(cores() + 1 + asked, 1)  # joblib's -1: all cores
        del composed["hydra"], composed["own"]
        for part in CHOICE:
            kept = f"{part}=none" in overrides and composed[part] is not None
            require(not kept, f"{part}=none: experiment={experiment} sets keys of {part}, so it cannot go without")
        return Job(experiment, typed(composed), overridden, folder, side_by_side=side_by_side)
    except (HydraException, OmegaConfBaseException) as error:
        loaded = not ("hydra/launcher" in str(error) and "Could not load" in str(error))
        require(loaded, "this hydra/launcher is not installed: pip install -e '.[cluster]'")
        raise UserError(_foreign_key(overrides, str(error)) or _first_cause(error)) from error
    except AssertionError:  # OmegaConf's, at a key of a part that is null
        choices = [override for override in overrides if "." not in override.split("=")[0]]
        _refuse_keys_of_absent_parts(overrides, compose("train", choices))
        raise


def _of_part(override: str) -> str | None:
    """``features`` of ``features.width=5``, for a part that an experiment may lack."""
    part, dot, _ = override.lstrip("+").split("=")[0].partition(".")
    return part if dot and part in CHOICE else None


def _refuse_keys_of_absent_parts(overrides: list[str], composed: DictConfig) -> None:
    for override in overrides:
        part = _of_part(override)
        absent = part is not None and composed[part] is None
        require(
            not absent, f"{override}: this experiment has no {part}; choose one, as in {part}={CHOICE.get(part or '')}"
        )


def _foreign_key(overrides: list[str], said: str) -> str | None:
    """A message about a learner that does not go with the experiment, if that is what Hydra complains of."""
    match = re.match(r"In 'experiment/(\w+)': ConfigKeyError .*Key '(\w+)' not in", said, re.DOTALL)
    asked = next((each for each in overrides if each.startswith("learner=")), None)
    if not (match and asked):
        return None
    experiment, name = match.groups()
    another = f"choose an experiment of {asked}, or experiment=none {asked}"
    return f"experiment={experiment} sets learner.{name}, which {asked} does not have: {another}"


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None and not isinstance(error, OmegaConfBaseException):
        error = error.__cause__
    line, *more = str(error).strip().splitlines()
    if line.endswith(":") and more:  # a heading: what it announces comes next
        line = f"{line} {more[0]}"
    culprit = getattr(error, "full_key", None)
    for said, meant in WORDS.items():
        if match := re.search(said, line):
            return f"{culprit} {match.expand(meant)}"
    return f"{culprit}: {line}" if culprit else line
