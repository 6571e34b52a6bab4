"""What varies between runs, whatever key was swept and whatever learner: found in the runs themselves."""

from collections import defaultdict
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from matplotlib.figure import Figure

from nne.training.config import flat
from nne.training.io.results import (
    Row,
    Run,
    is_number,
    is_relevant,
    natural_key,
    numeric_key,
    seeds,
    spread,
    standard_error,
    typed,
)
from nne.training.logging import figures

ELSEWHERE = {"learner.genes", "features.cap", "learner.rule"}
"""Keys that have parts of the report of their own."""
WIDE = 10  # times the smallest value: from here on an axis is logarithmic


@dataclass(frozen=True)
class Sweep:
    """Runs of one experiment on one data set that differ in one key, by its value; ``lines``: and by what else."""

    experiment: str
    dataset: str
    key: str
    lines: dict[str, dict[Any, list[Run]]]

    @property
    def name(self) -> str:
        return f"sweep_{self.experiment}_{self.key}_{self.dataset}".replace(".", "_")

    @property
    def values(self) -> list[Any]:
        """Of the key, numbers in order."""
        return sorted({value for line in self.lines.values() for value in line}, key=lambda value: numeric_key([value]))

    @property
    def runs(self) -> list[Run]:
        return [run for line in self.lines.values() for group in line.values() for run in group]


def relevant(run: Run) -> dict[str, Any]:
    """The keys that make a run what it is, lists as texts."""
    kept = ((name, value) for name, value in flat(run.summary["config"]).items() if is_relevant(name))
    return {name: typed(value) if isinstance(value, list) else value for name, value in kept}


def sweeps(runs: list[Run]) -> list[Sweep]:
    """Every key that was swept, in the runs of each experiment and data set."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.experiment, run.dataset].append(run)
    result = []
    for (experiment, dataset), members in sorted(groups.items()):
        keys = {run.folder: relevant(run) for run in members}
        names = dict.fromkeys(name for each in keys.values() for name in each)
        varying = [name for name in names if len({repr(each.get(name)) for each in keys.values()}) > 1]
        for key in (name for name in varying if name not in ELSEWHERE):
            lines: dict[str, dict[Any, list[Run]]] = defaultdict(lambda: defaultdict(list))
            for run in members:
                others = ((name, keys[run.folder].get(name)) for name in varying if name != key)
                words = " ".join(f"{name}={typed(value)}" for name, value in others)
                lines[words][keys[run.folder].get(key)].append(run)
            swept = {words: dict(line) for words, line in sorted(lines.items()) if len(line) > 1}
            if swept:
                result.append(Sweep(experiment, dataset, key, _without_shared(swept)))
    return result


def _without_shared(lines: dict[str, Any]) -> dict[str, Any]:
    """The same, less the words that all lines share."""
    shared = set.intersection(*(set(words.split()) for words in lines))
    return {" ".join(word for word in words.split() if word not in shared): line for words, line in lines.items()}


def table(sweep: Sweep) -> list[Row]:
    """What the runs reached, by the value of the key: mean ± standard error over seeds (steps, seconds: medians)."""
    rows = []
    several = len(sweep.lines) > 1
    for words, line in sorted(sweep.lines.items(), key=lambda item: natural_key(item[0])):
        for value in (value for value in sweep.values if value in line):
            group = line[value]
            accuracy = group[0].tells_classes
            rows.append(
                {
                    f"`{sweep.key}`": typed(value),
                    **({"otherwise": f"`{words}`" if words else ""} if several else {}),
                    unit(group[0]): spread((run.result for run in group), 2 if accuracy else 4),
                    "seeds": seeds(group),
                    "steps": f"{median(run.summary['steps'] for run in group):.0f}",
                    "seconds": f"{median(run.summary['seconds'] for run in group):.0f}",
                }
            )
    return rows


def unit(run: Run) -> str:
    """What a run's result is, with its unit."""
    return run.headline.replace("test/", "test accuracy of ").replace(" of accuracy", "") + (
        ", %" if run.tells_classes else ""
    )


def figure(sweep: Sweep) -> Figure:
    """What the runs reached against the value of the key; single runs are dots."""
    picture, axes = figures.new(width=5.6)
    values = sweep.values
    numbers = all(map(is_number, values))
    place = {value: value if numbers else i for i, value in enumerate(values)}
    for i, (words, line) in enumerate(sorted(sweep.lines.items(), key=lambda item: natural_key(item[0]))):
        tried = [value for value in values if value in line]
        style = figures.series_style(i) | ({} if numbers else {"linestyle": ""})
        results = [[run.result for run in line[value]] for value in tried]
        errors = [standard_error(group) for group in results]
        places = [place[value] for value in tried]
        axes.errorbar(places, list(map(mean, results)), errors, capsize=2, label=words or None, **style)
        for x, group in zip(places, results, strict=True):
            axes.plot([x] * len(group), group, linestyle="", marker=".", markersize=3, color=style["color"], alpha=0.4)
    if not numbers:
        axes.set_xticks(range(len(values)), [typed(value) for value in values])
        axes.set_xlim(-0.5, len(values) - 0.5)
    elif min(values) > 0 and max(values) >= WIDE * min(values):
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:,g}" for value in values])
        axes.minorticks_off()
    axes.set(xlabel=sweep.key, ylabel=unit(sweep.runs[0]))
    if len(sweep.lines) > 1:
        figures.legend(picture, axes, columns=2)
    return picture
