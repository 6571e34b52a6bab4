"""Finished runs, read back from their folders: grouped over seeds, compared with their experiment, put in tables."""

import csv
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from nne.training.config import flat
from nne.training.io.provenance import command
from nne.training.io.run_folder import METRICS, SUMMARY

IRRELEVANT = (
    "seed",
    "device",
    "dtype",
    "backend",
    "run_dir",
    "resume",
    "trainer",
    "data.source",
    "data.root",
    "data.download",
)
"""Keys that do not make a run another experiment; ``trainer.max_steps`` alone of the trainer's does."""

RECORDED = {"experiment", "dataset", "seed", "config", "headline", "result"}
"""What a summary must hold to be compared with others."""

log = logging.getLogger(__name__)
Row = dict[str, str]


@dataclass(frozen=True)
class Run:
    """One finished run."""

    folder: Path
    summary: dict[str, Any]

    @property
    def experiment(self) -> str:
        return str(self.summary["experiment"])

    @property
    def learner(self) -> str:
        return str(self.summary["config"]["learner"]["name"])

    @property
    def dataset(self) -> str:
        return str(self.summary["dataset"])

    @property
    def accuracy(self) -> float:
        """Test accuracy in %."""
        return 100 * float(self.summary["test_accuracy"])

    @property
    def headline(self) -> str:
        """The column of ``metrics.csv`` that the run is judged by."""
        return str(self.summary["headline"])

    @property
    def tells_classes(self) -> bool:
        """Whether that is an accuracy on test images."""
        return self.headline.startswith("test/")

    @property
    def result(self) -> float:
        """What the run reached: test accuracy in %, or the figure that its learner is judged by."""
        return (100 if self.tells_classes else 1) * float(self.summary[self.summary["result"]])

    def key(self, name: str) -> Any:
        """The value of a configuration key, e.g. ``learner.genes``; ``None`` where there is no such part."""
        value: Any = self.summary["config"]
        for part in name.split("."):
            value = value.get(part) if value is not None else None
        return value

    @property
    def step_seconds(self) -> float:
        """Median seconds of a step, evaluation not included."""
        with (self.folder / METRICS).open(newline="") as file:
            return median(1 / float(row["speed/steps_per_second"]) for row in csv.DictReader(file))

    def column(self, name: str) -> list[tuple[int, float, float]]:
        """(step, seconds, value) of a metric wherever it was measured."""
        with (self.folder / METRICS).open(newline="") as file:
            return [
                (int(row["step"]), float(row["speed/seconds"]), float(row[name]))
                for row in csv.DictReader(file)
                if row[name]
            ]

    @property
    def curve(self) -> list[tuple[int, float, float]]:
        """(step, seconds, ``result``) wherever it was measured."""
        factor = 100 if self.tells_classes else 1
        return [(step, seconds, factor * value) for step, seconds, value in self.column(self.headline)]


def find_runs(folders: Iterable[Path]) -> list[Run]:
    """Every finished run below some folders, by path; one that was made twice, to the same bits, counts once."""
    runs: dict[Any, Run] = {}
    for file in sorted({file for folder in folders for file in folder.rglob(SUMMARY)}):
        try:
            run = Run(file.parent, json.loads(file.read_text()))
            if missing := RECORDED - run.summary.keys():
                log.warning("%s was made by another version and left out: it has no %s", file, ", ".join(missing))
                continue
            bits = run.summary.get("state_sha256", run.folder)
            alike = str({name: each for name, each in flat(run.summary["config"]).items() if is_relevant(name)})
            runs.setdefault((run.experiment, run.dataset, run.summary["seed"], alike, bits), run)
        except ValueError as error:
            log.warning("%s is damaged and left out: %s", file, error)
    return list(runs.values())


@dataclass(frozen=True)
class Unfinished:
    """A run that has no summary; ``step``: the last that is recorded."""

    folder: Path
    step: int


def find_unfinished(folders: Iterable[Path]) -> list[Unfinished]:
    """Every run below some folders that has begun and not ended, by path."""
    begun = sorted({file.parent for folder in folders for file in folder.rglob(METRICS)})
    return [Unfinished(folder, _last_step(folder / METRICS)) for folder in begun if not (folder / SUMMARY).exists()]


def _last_step(path: Path) -> int:
    """Of the last whole row; a row that was being written when the run was killed does not count."""
    with path.open(newline="") as file:
        return max((int(row["step"]) for row in csv.DictReader(file) if (row["step"] or "").isdigit()), default=0)


def settings(run: Run, experiment: Mapping[str, Any]) -> dict[str, Any]:
    """What a run has otherwise than its experiment (a configuration as ``to_dict`` gives it)."""
    wanted, given = flat(experiment), flat(run.summary["config"])
    differing = {name: value for name, value in given.items() if value != wanted.get(name)}
    return {name: differing[name] for name in sorted(differing) if is_relevant(name)}


def is_relevant(name: str) -> bool:
    """Whether a key makes a run another experiment."""
    return name == "trainer.max_steps" or not name.startswith((*IRRELEVANT, "learner.evolve"))


def typed(value: Any) -> str:
    """A value as it is given on the command line."""
    return "null" if value is None else str(value).replace(" ", "")


def grouped(runs: Iterable[Run], *names: str) -> dict[tuple[Any, ...], list[Run]]:
    """Runs by experiment, data set, machine and the values of some keys; sorted, numbers as numbers."""
    groups: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.experiment, run.dataset, run.summary["device"], *(run.key(name) for name in names)].append(run)
    return dict(sorted(groups.items(), key=lambda item: numeric_key(item[0])))


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of some values; 0 where there is one."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def spread(values: Iterable[float], digits: int = 1) -> str:
    """``mean ± standard error`` of some values; the value alone where there is one."""
    numbers = list(values)
    middle = f"{mean(numbers):.{digits}f}"
    return middle if len(numbers) == 1 else f"{middle} ± {standard_error(numbers):.{digits}f}"


def numeric_key(values: Iterable[Any]) -> list[tuple[bool, float, str]]:
    """A key that sorts numbers as numbers, and before them what is none."""
    return [(True, float(value), "") if is_number(value) else (False, 0.0, str(value)) for value in values]


def natural_key(text: str) -> list[tuple[bool, float, str]]:
    """A key that sorts the numbers in texts as numbers: ``learner.genes=500`` before ``learner.genes=5000``."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", text)
    return numeric_key(float(part) if i % 2 else part for i, part in enumerate(parts))


def is_number(value: Any) -> bool:
    """Whether it is one, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def seeds(runs: Iterable[Run]) -> str:
    """``0,1,2``."""
    return ",".join(str(seed) for seed in sorted(run.summary["seed"] for run in runs))


def markdown(rows: list[Row]) -> str:
    """A table as Markdown."""
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *[list(row.values()) for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def insert(tables: dict[str, list[Row]], document: Path) -> None:
    """Put the tables where a document has room for them."""

    def filled(place: re.Match[str]) -> str:
        rows = tables.get(place[2])
        return f"{place[1]}\n\n{markdown(rows)}\n\n{place[3]}" if rows else place[0]

    places = re.compile(r"(<!-- table (\w+) -->).*?(<!-- end -->)", re.DOTALL)
    document.write_text(places.sub(filled, document.read_text()))


def publish(rows: list[Row], out: Path, name: str) -> None:
    """Print a table, and write it as CSV with the command that made it, for a report to find."""
    print(markdown(rows))
    write_csv(rows, out / f"{name}.csv")
    (out / f"{name}.command").write_text(command() + "\n")
    print(f"written to {out}")


def write_csv(rows: list[Row], path: Path) -> None:
    """A table as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
