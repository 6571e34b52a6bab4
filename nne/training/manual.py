"""The manual page that `--help` prints, made from the configuration itself so that it cannot go stale."""

import textwrap
from pathlib import Path
from typing import Any

from nne.training.config import Config, documented_keys
from nne.training.io.provenance import program

PAGE = """\
NAME
    {train} - learning without backpropagation: train one experiment, or sweep over many

SYNOPSIS
    {train} experiment=NAME [key=value ...]
    {train} -m experiment=NAME learner.genes=500,1000,2000,5000
    {train} resume=outputs/NAME/DATE_TIME
    {train} -m ... hydra.sweep.dir=FOLDER sweep.resume=true     the same sweep again: what is left of it

EXPERIMENTS
{experiments}

CHOICES
{choices}

KEYS (with their defaults; an experiment may set others: see --cfg job)
{keys}

FILES
    outputs/<experiment>/<date_time>/   summary.json  metrics.csv  train.log  figures/  checkpoints/  TensorBoard events
    outputs/multirun/<experiment>/...   one such folder for each job of a sweep

EXIT STATUS
    0 finished, 1 a job of a sweep failed, 2 something to mend (one line says what), 130 or 143 stopped by a signal

SEE ALSO
    --cfg job    the whole configuration that a command line gives
    --hydra-help options of Hydra itself; eval "$({train} -sc install=bash)" completes keys with Tab
"""


def manual_page(configs: Path, learners: dict[str, Any]) -> str:
    """The text, from the experiment files' comments and the dataclasses' documentation."""
    experiments = "\n".join(
        _wrapped(f"{file.stem:<22}  {purpose(file)}", 4, 28) for file in sorted((configs / "experiment").glob("*.yaml"))
    )
    groups = [folder for folder in sorted(configs.iterdir()) if folder.is_dir() and folder.name != "experiment"]
    choices = "\n".join(
        f"    {folder.relative_to(configs)}={'|'.join(sorted(file.stem for file in files))}"
        for group in groups
        for folder in (group, *group.iterdir())
        if (files := list(folder.glob("*.yaml")))
    )
    keys = _entries(documented_keys(Config))
    for name, schema in learners.items():
        documented = {key: entry for key, entry in documented_keys(schema, "learner.").items() if key != "learner.name"}
        keys += f"\n\nKEYS OF learner={name}\n{_entries(documented)}"
    return PAGE.format(train=program("train"), experiments=experiments, choices=choices, keys=keys)


def purpose(experiment: Path) -> str:
    """The sentence under the command in an experiment file."""
    lines = experiment.read_text().splitlines()[2:]
    comment = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return " ".join(line for line in comment if line)


def _entries(keys: dict[str, tuple[Any, str]]) -> str:
    return "\n".join(_entry(name, default, doc) for name, (default, doc) in keys.items())


def _entry(name: str, default: Any, doc: str) -> str:
    shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    return f"    {name}={shown.replace(' ', '')}\n{_wrapped(doc, 8, 8)}"


def _wrapped(text: str, first: int, rest: int) -> str:
    return textwrap.fill(text, 110, initial_indent=" " * first, subsequent_indent=" " * rest)
