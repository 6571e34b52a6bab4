"""The figures of a report, from finished runs; each is drawn only if there are runs to draw it from."""

from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import tables
from training.results import Run


def draw(runs: list[Run], experiments: tables.Experiments, out: Path) -> list[str]:
    """Draw what can be drawn; the names of the files."""
    in_a_lifetime = {experiment for _, _, experiment, _, _ in tables.TABLE_2}
    figures = {
        "learning.png": evolution([r for r in runs if r.learner == "evolution"]),
        "lifetime.png": lifetime([r for r in tables.as_written(runs, experiments) if r.experiment in in_a_lifetime]),
        "figure2.png": figure_2(runs),
        "figure3.png": figure_3(runs),
        "caps.png": caps(runs),
        "linear.png": linear([r for r in runs if r.learner == "linear"]),
    }
    drawn = {name: figure for name, figure in figures.items() if figure}
    for name, figure in drawn.items():
        figure.savefig(out / name)
    return list(drawn)


def evolution(runs: list[Run]) -> Any:
    """Test accuracy of individuals against generations and seconds, with the paper's."""
    from training import figures

    if not runs:
        return None
    figure, (by_step, by_second) = _learning(runs, "test/individuals")
    known = (tables.PAPER.get(r.experiment.removesuffix("_paper")) for r in runs if r.dataset == "mnist")
    for value in sorted({v for v in known if v}):
        for axes in (by_step, by_second):
            axes.axhline(value, color=figures.PAPER, linestyle="--", linewidth=0.8)
        across = by_second.get_yaxis_transform()  # x as a share of the axes, y in %
        by_second.text(1, value, f"paper, {value:g} %", transform=across, ha="right", va="bottom", fontsize=7)
    by_step.set(xlabel="generations", ylabel="test accuracy of individuals, %", ylim=(0, 100))
    by_second.set(xlabel="seconds", ylim=(0, 100))
    return figure


def lifetime(runs: list[Run]) -> Any:
    """Test accuracy against epochs and seconds of those who learn on random features."""
    if not runs:
        return None
    figure, (by_step, by_second) = _learning(runs, "test/accuracy")
    by_step.set(xlabel="epochs", ylabel="test accuracy, %", xscale="log", ylim=(65, 95))
    by_second.set(xlabel="seconds of learning, once the features are there", xscale="log", ylim=(65, 95))
    return figure


def _learning(runs: list[Run], headline: str) -> Any:
    """Two axes: accuracy against steps and seconds, a line a run, a colour an experiment and data set."""
    from training import figures

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


def figure_2(runs: list[Run]) -> Any:
    """Fig. 2 from the final checkpoint of the evolution with the most generations."""
    from nne.evolved import evolved
    from nne.figures import convergence

    found = [r for r in runs if r.learner == "evolution"]
    if not found:
        return None
    longest = max(found, key=lambda run: int(run.summary["generations"]))
    return convergence(evolved(longest.folder, f"{longest.folder}").history)


def linear(runs: list[Run]) -> Any:
    """Linear targets: the cosine of W p and the target, and how far the loss fell beside what Theorem 1 guarantees."""
    from training import figures

    if not runs:
        return None
    figure, (left, right) = figures.pair()
    for i, run in enumerate(runs):
        generations, _, cosines = zip(*run.column("cosine"), strict=True)
        left.plot(generations, cosines, color=f"C{i}", label=f"{run.experiment}, seed {run.summary['seed']}")
        for name, style in (("realised", "-"), ("guaranteed", ":")):
            generations, _, falls = zip(*run.column(f"decrease/{name}"), strict=True)
            right.plot(generations, falls, style, color=f"C{i}", label=None if i else name)
    left.axhline(0.99, color="#999999", linewidth=0.8)
    left.set(xlabel="generations", ylabel="cos(W p, a)", ylim=(None, 1.02))
    right.set(xlabel="generations", ylabel="decrease of the loss in a generation", yscale="log")
    left.legend(fontsize=7)
    right.legend(fontsize=7)
    return figure


def figure_3(runs: list[Run]) -> Any:
    """Fig. 3, accuracy against the number of genes, one line per experiment."""
    lines: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run.learner == "evolution":
            lines[f"{run.experiment}, {run.dataset}"][run.key("learner.genes")].append(run.accuracy)
    lines = {label: by_genes for label, by_genes in lines.items() if len(by_genes) > 1}
    return _against(lines, "number of genes n", "test accuracy of individuals, %")


def caps(runs: list[Run]) -> Any:
    """Accuracy under a cap of k, for every learner that was tried with several; without a cap at the right."""
    lines: dict[str, dict[int, list[float]]] = {}
    rows = tables.caps(runs, {})
    for row in rows:
        width = int(row["h"].replace(",", ""))
        points = {k.removeprefix("k = "): cell for k, cell in row.items() if k.startswith("k = ") and cell}
        by_cap = {width if k == "none" else int(k): [float(cell.split()[0])] for k, cell in points.items()}
        decay = ", decaying" if row["decay"] == "linear" else ""
        lines[f"{row['learner'].strip('`')}, ε = {row['ε']}{decay}, {row['pixels']} pixels"] = by_cap
    return _against(lines, "k, hidden units that may fire", "test accuracy, %", least=70)


def _against(lines: dict[str, dict[int, list[float]]], x: str, y: str, least: float | None = None) -> Any:
    """Mean and sd of some values against a number, on a logarithmic axis; a line for each label, cut off below."""
    from training import figures

    if not lines:
        return None
    figure, axes = figures.new(width=7.2)
    for label, by_number in sorted(lines.items()):
        numbers = sorted(by_number)
        error = [stdev(by_number[n]) if len(by_number[n]) > 1 else 0.0 for n in numbers]
        axes.errorbar(numbers, [mean(by_number[n]) for n in numbers], error, marker="o", markersize=4, label=label)
    axes.set(xscale="log", xlabel=x, ylabel=y, ylim=(least, None))
    axes.set_xticks(sorted({n for by_number in lines.values() for n in by_number}))
    axes.get_xaxis().set_major_formatter(lambda n, _: f"{n:g}")
    axes.minorticks_off()
    figure.legend(fontsize=7, loc="outside right upper", frameon=False)
    return figure
