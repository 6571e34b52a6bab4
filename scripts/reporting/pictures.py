"""The figures of a report, each from the runs it is given; ``None`` where there are none to draw it from."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nne.analysis.figures import convergence
from nne.analysis.figures import trajectories as draw_trajectories
from nne.learners.evolved import evolved
from nne.training.io.results import Row, Run, natural_key, standard_error, typed
from nne.training.logging import figures
from reporting import sweeps, tables


def beside_paper(rows: list[Row], column: str) -> Figure | None:
    """Ours, with its standard error over seeds, and the paper's, for each row of one of the paper's tables."""
    rows = [row for row in rows if row["paper"]]
    if not rows:
        return None
    figure, axes = figures.new(width=7.2, height=0.9 + 0.28 * len(rows))
    places = range(len(rows), 0, -1)
    for name, marker, colour in (("paper", "D", figures.PAPER), ("ours", "o", figures.COLOURS[0])):
        values = [[float(part) for part in row[name].split(" ± ")] for row in rows]
        errors = [value[1] if len(value) > 1 else 0.0 for value in values]
        style: dict[str, Any] = {"fmt": marker, "color": colour, "markersize": 5, "label": name, "capsize": 2}
        axes.errorbar([value[0] for value in values], list(places), xerr=errors, **style)
    axes.set_yticks(list(places), [f"{row['model']}, {_sized(row, column)}" for row in rows], fontsize=8)
    axes.set(xlabel="test accuracy, %", ylim=(0.4, len(rows) + 0.6))
    figures.legend(figure, axes)
    return figure


def _sized(row: Row, column: str) -> str:
    return f"h = {row[column]}" if column == "h" else row[column]


def evolution(runs: list[Run], experiments: tables.Experiments) -> Figure | None:
    """Test accuracy of individuals against generations and seconds, with the paper's."""
    if not runs:
        return None
    figure, both = learning_curves(runs, experiments)
    for axes in both:
        for value in papers(runs):
            figures.reference_line(axes, value, f"paper, {value:g} %")
        axes.set_ylim(0, 100)
    both[0].set(xlabel="generations", ylabel="test accuracy of individuals, %")
    both[1].set(xlabel="seconds of work")
    return figure


def papers(runs: list[Run]) -> list[float]:
    """What the paper reports for the experiments of some runs, or for what these do at other sizes."""
    names = {run.experiment.removesuffix("_paper") for run in runs}
    return sorted({tables.PAPER[name] for name in names if name in tables.PAPER})


def dopamine(runs: list[Run], experiments: tables.Experiments) -> Figure | None:
    """Test accuracy against epochs and seconds of those who learn on random features."""
    if not runs:
        return None
    figure, both = learning_curves(runs, experiments)
    both[0].set(xlabel="epochs", ylabel="test accuracy, %")
    both[1].set(xlabel="seconds of learning, once the features are there")
    for axes in both:
        axes.set_xscale("log")
    return figure


def others(runs: list[Run], experiments: tables.Experiments) -> Figure | None:
    """Learning curves of learners that the report does not know."""
    if not runs:
        return None
    figure, both = learning_curves(runs, experiments)
    both[0].set(xlabel="steps", ylabel=sweeps.unit(runs[0]))
    both[1].set(xlabel="seconds of work")
    return figure


def learning_curves(runs: list[Run], experiments: tables.Experiments) -> tuple[Figure, tuple[Axes, Axes]]:
    """Two axes: accuracy against steps and seconds, a line a setting: its mean over seeds, and the standard error.

    A mean is drawn where every seed was measured; beyond, where some had stopped, each seed's end is a mark.
    """
    figure, both = figures.pair()
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(in_words(run, runs, experiments), []).append(run)
    for i, (label, group) in enumerate(sorted(groups.items(), key=lambda item: natural_key(item[0]))):
        curves = [{step: (seconds, value) for step, seconds, value in run.curve} for run in group]
        shared = sorted(set.intersection(*(set(curve) for curve in curves)))
        points = [[curve[step] for curve in curves] for step in shared]
        middle = [mean(value for _, value in each) for each in points]
        error = [standard_error([value for _, value in each]) for each in points]
        low, high = ([m + sign * e for m, e in zip(middle, error, strict=True)] for sign in (-1, 1))
        style = figures.series_style(i) | {"markevery": max(len(shared) // 6, 1)}
        steps, seconds = [float(step) for step in shared], [mean(second for second, _ in each) for each in points]
        ends = [(max(curve), *curve[max(curve)]) for curve in curves]
        for axes, x, x_of_ends in (
            (both[0], steps, [float(step) for step, _, _ in ends]),
            (both[1], seconds, [second for _, second, _ in ends]),
        ):
            axes.plot(x, middle, **style, label=label)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
            axes.plot(x_of_ends, [value for _, _, value in ends], **style | {"linestyle": "", "alpha": 0.5})
    figures.legend(figure, both[0])
    return figure, both


def in_words(run: Run, runs: list[Run], experiments: tables.Experiments) -> str:
    """What tells a run from others: its experiment, its data set where there are several, and what it has otherwise."""
    words = [f"{name}={typed(value)}" for name, value in tables.settings_of(run, experiments).items()]
    data = [run.dataset] if len({each.dataset for each in runs}) > 1 else []
    return ", ".join([run.experiment, *data, *words])


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
        style = figures.series_style(i) | {"marker": ""}
        generations, _seconds, cosines = zip(*run.column("cosine"), strict=True)
        left.plot(generations, cosines, **style, label=f"{run.experiment}, seed {run.summary['seed']}")
        for name, line in (("realised", "-"), ("guaranteed", ":")):
            generations, _seconds, falls = zip(*run.column(f"decrease/{name}"), strict=True)
            right.plot(generations, falls, **style | {"linestyle": line}, label=None if i else name)
    figures.reference_line(left, 0.99, "0.99")
    left.set(xlabel="generations", ylabel="cos(W p, a)", ylim=(None, 1.02))
    right.set(xlabel="generations", ylabel="decrease of the loss in a generation", yscale="log")
    figures.legend(figure, left, place="lower left", columns=1)
    figures.legend(figure, right, place="lower right")
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
    for by_cap in tables.cap_groups([run for run in runs if run.key("learner.path") != "primal"]):
        run = next(iter(by_cap.values()))[0]
        told, width = tables.capped(run), run.key("features.width")
        decay = ", decaying" if told["decay"] == "linear" else ""
        label = f"{told['learner'].strip('`')}, ε = {told['ε']}{decay}, {told['pixels']} pixels"
        lines[label] = {k or width: [each.accuracy for each in group] for k, group in by_cap.items()}
    return _against(lines, "k, hidden units that may fire (at the right: all)", "test accuracy, %")


def _against(lines: dict[str, dict[int, list[float]]], x: str, y: str, lines_at: Iterable[float] = ()) -> Figure | None:
    """Means and standard errors of some values against a number, on a logarithmic axis; a line for each label.

    Args:
        lines_at: what the paper reports.
    """
    if not lines:
        return None
    figure, axes = figures.new(width=5.6)
    for i, (label, by_number) in enumerate(sorted(lines.items(), key=lambda item: natural_key(item[0]))):
        numbers = sorted(by_number)
        error = [standard_error(by_number[n]) for n in numbers]
        middle = [mean(by_number[n]) for n in numbers]
        axes.errorbar(numbers, middle, error, **figures.series_style(i), capsize=2, label=label)
    for value in lines_at:
        figures.reference_line(axes, value, f"paper, {value:g} %")
    ticks = sorted({n for by_number in lines.values() for n in by_number})
    axes.set(xscale="log", xlabel=x, ylabel=y)
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.minorticks_off()
    if len(lines) > 1:
        figures.legend(figure, axes, columns=2)
    return figure
