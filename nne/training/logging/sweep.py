"""What a sweep prints: a line when it begins, a line a job, and a table of its results when it ends."""

import json
import os
from collections.abc import Iterable
from statistics import mean
from typing import Any

from rich.table import Table

from nne.training.cli import Job
from nne.training.config import flat
from nne.training.io.results import Run, numeric_key, seeds, spread
from nne.training.io.run_folder import SUMMARY
from nne.training.learner import shown


def varying(jobs: list[Job]) -> list[str]:
    """The keys that differ between the jobs of a sweep, in the order of the command line."""
    given = [_given(job.overrides) for job in jobs]
    return [name for name in given[0] if any(each[name] != given[0][name] for each in given)]


def tell_processes(jobs: list[Job]) -> None:
    """What the processes of a sweep must know of it to name their jobs."""
    os.environ["NNE_VARYING"] = " ".join(varying(jobs))
    os.environ["NNE_JOBS"] = str(len(jobs))


def label(number: int) -> str:
    """What the lines of a job begin with: ``job 3 of 8: ``."""
    return f"job {number + 1} of {os.environ.get('NNE_JOBS', '?')}: "


def beginning(jobs: list[Job]) -> str:
    """How many jobs there are, over what, and where they go."""
    assert jobs[0].folder
    over = ", ".join(varying(jobs)) or "nothing"
    place = jobs[0].folder.parent
    return f"{len(jobs)} jobs over {over}, into {place}; watch them with: tensorboard --logdir {place}"


def words(overrides: list[str], names: Iterable[str]) -> str:
    """``learner.genes=500 seed=1``: what makes a job another than those beside it."""
    given = _given(overrides)
    return " ".join(f"{name}={given[name]}" for name in names if name in given)


def outcome(summary: dict[str, Any]) -> str:
    """``individuals 88.71 % after 553 steps, 61 s``."""
    name = summary["headline"].removeprefix("test/")
    result = shown(summary["headline"], summary[summary["result"]])
    return f"{name} {result} after {summary['steps']} steps, {summary['seconds']:.0f} s"


def table(jobs: list[Job]) -> Table | None:
    """The results of a sweep, over its seeds where it has several: mean ± standard error; None if no job ended."""
    names = varying(jobs)
    settings = [name for name in names if name != "seed"]
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for job in jobs:
        if job.folder and (job.folder / SUMMARY).exists():
            run = Run(job.folder, json.loads((job.folder / SUMMARY).read_text()))
            chosen = {"experiment": job.experiment, **flat(run.summary["config"]), **_chosen(job)}
            groups.setdefault(tuple(chosen.get(name) for name in settings), []).append(run)
    if not groups:
        return None
    first = next(iter(groups.values()))[0]
    unit, digits = (", %", 2) if first.tells_classes else ("", 4)
    rows = Table(*settings, first.headline.removeprefix("test/") + unit, "seeds", "steps", "seconds")
    for values, runs in sorted(groups.items(), key=lambda group: numeric_key(group[0])):
        means = (f"{mean(run.summary[name] for run in runs):.0f}" for name in ("steps", "seconds"))
        rows.add_row(*map(str, values), spread((run.result for run in runs), digits), seeds(runs), *means)
    return rows


def _given(overrides: list[str]) -> dict[str, str]:
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    return {name: value for name, _, value in pairs}


def _chosen(job: Job) -> dict[str, str]:
    """Choices of groups, such as ``data=mnist``, which stand in no configuration."""
    return {name: value for name, value in _given(job.overrides).items() if "." not in name and name != "seed"}
