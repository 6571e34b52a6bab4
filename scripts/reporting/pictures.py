"""The figures of a report, each from the runs it is given; ``None`` where there are none to draw it from."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nne.analysis.figures import convergence
from nne.analysis.figures import trajectories as draw_trajectories
from nne.learners.evolved import evolved
from nne.training.io.results import Row, Run, typed
from nne.training.logging import figures
from reporting import tables


def beside_paper(rows: list[Row], column: str) -> Figure | None:
    """Ours, with its standard error over seeds, and the paper's, for each row of one of the paper's tables."""
    if not rows:
        return None
    figure, axes = figures.new(width=7.2, height=0.7 + 0.28 * len(rows))
    places = range(len(rows), 0, -1)
    for name, marker, colour in (("paper", "D", figures.PAPER), ("ours", "o", "C0")):
        values = [[float(part) for part in row[name].split(" ± ")] for row in rows]
        errors = [value[1] if len(value) > 1 else 0.0 for value in values]
        style: dict[str, Any] = {"fmt": marker, "color": colour, "markersize": 5, "label": name, "capsize": 2}
        axes.errorbar([value[0] for value in values], list(places), xerr=errors, **style)
    axes.set_yticks(list(places), [f"{row['model']}, {_sized(row, column)}" for row in rows], fontsize=8)
    axes.set(xlabel="test accuracy, %", ylim=(0.4, len(rows) + 0.6))
    axes.legend(fontsize=7, loc="best")
    return figure


def _sized(row: Row, column: str) -> str:
    return f"h = {row[column]}" if column == "h" else row[column]


def evolution(runs: list[Run], _: tables.Experiments) -> Figure | None:
    """Test accuracy of individuals against generations and seconds, with the paper's."""
    if not runs:
        return None
    figure, (by_step, by_second) = _learning(runs, "test/individuals")
    for value in papers(runs):
        for axes in (by_step, by_second):
            axes.axhline(value, color=figures.PAPER, linestyle="--", linewidth=0.8)
        across = by_second.get_yaxis_transform()  # x as a share of the axes, y in %
        by_second.text(1, value, f"paper, {value:g} %", transform=across, ha="right", va="bottom", fontsize=7)
    by_step.set(xlabel="generations", ylabel="test accuracy of individuals, %", ylim=(0, 100))
    by_second.set(xlabel="seconds", ylim=(0, 100))
    return figure


def papers(runs: list[Run]) -> list[float]:
    """What the paper reports for the experiments of some runs, or for what these do at other sizes."""
    names = {run.experiment.removesuffix("_paper") for run in runs}
    return sorted({tables.PAPER[name] for name in names if name in tables.PAPER})


def dopamine(runs: list[Run], _: tables.Experiments) -> Figure | None:
    """Test accuracy against epochs and seconds of those who learn on random features."""
    if not runs:
        return None
    figure, (by_step, by_second) = _learning(runs, "test/accuracy")
    least = 65 if all(run.dataset == "mnist" for run in runs) else 0
    by_step.set(xlabel="epochs", ylabel="test accuracy, %", xscale="log", ylim=(least, 95))
    by_second.set(xlabel="seconds of learning, once the features are there", xscale="log", ylim=(least, 95))
    return figure


def _learning(runs: list[Run], headline: str) -> tuple[Figure, tuple[Axes, Axes]]:
    """Two axes: accuracy against steps and seconds, a line a run, a colour an experiment and data set."""
    figure, (by_step, by_second) = figures.pair()
    labels = sorted({(run.experiment, run.dataset) for run in runs})
    told = set()
    for run in runs:
        label = run.experiment, run.dataset
        steps, seconds, accuracy = zip(*run.curve(headline), strict=True)
        name = None if label in told else ", ".join(label)
        told.add(label)
        style: dict[str, Any] = {"color": f"C{labels.index(label)}", "linewidth": 1.0, "label": name}
        by_step.plot(steps, accuracy, **style)
        by_second.plot(seconds, accuracy, **style)
    lines, names = by_step.get_legend_handles_labels()
    figure.legend(lines, names, fontsize=7, loc="outside lower center", ncols=min(len(labels), 4), frameon=False)
    return figure, (by_step, by_second)


def figure_2(runs: list[Run], _: tables.Experiments) -> Figure | None:
    """Fig. 2, from the last checkpoint of a run."""
    return convergence(evolved(runs[0].folder, f"{runs[0].folder}").history) if runs else None


def trajectories(runs: list[Run], _: tables.Experiments) -> Figure | None:
    """What became of a few alleles, from the last checkpoint of a run."""
    return draw_trajectories(evolved(runs[0].folder, f"{runs[0].folder}").trajectories) if runs else None


def linear(runs: list[Run], _: tables.Experiments) -> Figure | None:
    """Linear targets: the cosine of W p and the target, and how far the loss fell beside what Theorem 1 guarantees."""
    if not runs:
        return None
    figure, (left, right) = figures.pair()
    for i, run in enumerate(runs):
        generations, _seconds, cosines = zip(*run.column("cosine"), strict=True)
        left.plot(generations, cosines, color=f"C{i}", label=f"{run.experiment}, seed {run.summary['seed']}")
        for name, style in (("realised", "-"), ("guaranteed", ":")):
            generations, _seconds, falls = zip(*run.column(f"decrease/{name}"), strict=True)
            right.plot(generations, falls, style, color=f"C{i}", label=None if i else name)
    left.axhline(0.99, color="#999999", linewidth=0.8)
    left.set(xlabel="generations", ylabel="cos(W p, a)", ylim=(None, 1.02))
    right.set(xlabel="generations", ylabel="decrease of the loss in a generation", yscale="log")
    left.legend(fontsize=7)
    right.legend(fontsize=7)
    return figure


def figure_3(runs: list[Run], experiments: tables.Experiments) -> Figure | None:
    """Fig. 3, accuracy against the number of genes, a line for runs that are alike but for that."""
    lines = {
        ", ".join(filter(None, like)): {n: [run.accuracy for run in group] for n, group in by_genes.items()}
        for like, by_genes in alike_but_genes(runs, experiments).items()
    }
    return _against(lines, "number of genes n", "test accuracy of individuals, %", lines_at=papers(runs))


def swept(runs: list[Run], experiments: tables.Experiments) -> list[Run]:
    """The runs that others are alike but for the number of genes."""
    several = [by_genes for by_genes in alike_but_genes(runs, experiments).values() if len(by_genes) > 1]
    return [run for by_genes in several for group in by_genes.values() for run in group]


def alike_but_genes(
    runs: list[Run], experiments: tables.Experiments
) -> dict[tuple[str, str, str], dict[int, list[Run]]]:
    """Runs by the number of genes, for each experiment, data set and whatever else is otherwise."""
    groups: dict[tuple[str, str, str], dict[int, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        otherwise = tables.settings_of(run, experiments).items()
        words = " ".join(f"{name}={typed(value)}" for name, value in otherwise if name != "learner.genes")
        groups[run.experiment, run.dataset, words][run.key("learner.genes")].append(run)
    return groups


def caps(runs: list[Run], _: tables.Experiments) -> Figure | None:
    """Accuracy under a cap of k, for every learner that was tried with several; without a cap at the right."""
    lines: dict[str, dict[int, list[float]]] = {}
    rows = tables.caps(runs, {})
    for row in rows:
        width = int(row["h"].replace(",", ""))
        points = {k.removeprefix("k = "): cell for k, cell in row.items() if k.startswith("k = ") and cell}
        by_cap = {width if k == "none" else int(k): [float(cell.split()[0])] for k, cell in points.items()}
        decay = ", decaying" if row["decay"] == "linear" else ""
        lines[f"{row['learner'].strip('`')}, ε = {row['ε']}{decay}, {row['pixels']} pixels"] = by_cap
    least = 70 if all(run.dataset == "mnist" for run in runs) else None
    return _against(lines, "k, hidden units that may fire", "test accuracy, %", least)


def _against(
    lines: dict[str, dict[int, list[float]]], x: str, y: str, least: float | None = None, lines_at: Iterable[float] = ()
) -> Figure | None:
    """Mean and sd of some values against a number, on a logarithmic axis; a line for each label, cut off below.

    Args:
        lines_at: what the paper reports, dashed.
    """
    if not lines:
        return None
    figure, axes = figures.new(width=7.2)
    for label, by_number in sorted(lines.items()):
        numbers = sorted(by_number)
        error = [stdev(by_number[n]) if len(by_number[n]) > 1 else 0.0 for n in numbers]
        axes.errorbar(numbers, [mean(by_number[n]) for n in numbers], error, marker="o", markersize=4, label=label)
    for value in lines_at:
        axes.axhline(value, color=figures.PAPER, linestyle="--", linewidth=0.8, label=f"paper, {value:g} %")
    axes.set(xscale="log", xlabel=x, ylabel=y, ylim=(least, None))
    axes.set_xticks(sorted({n for by_number in lines.values() for n in by_number}))
    axes.get_xaxis().set_major_formatter(lambda n, _: f"{n:g}")
    axes.minorticks_off()
    figure.legend(fontsize=7, loc="outside right upper", frameon=False)
    return figure
