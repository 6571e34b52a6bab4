"""Read finished runs and print what they found; draw the paper's figures: `python scripts/report.py outputs`.

Prints one table, a row per experiment and setting (mean ± sd over seeds), as Markdown, and writes beside it
`runs.csv`, `learning.png` (accuracy against generations and against seconds), `figure2.png` (allele frequencies of
the longest run) and `figure3.png` (accuracy against the number of genes, where runs differ in it).
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from training.errors import UserError
from training.run_folder import METRICS, SUMMARY

PAPER = {"nne_mnist10": 78.8, "nne_mnist5": 92.1}  # NNE in Table 1, %
Summary = dict[str, Any]


def find_runs(folders: list[Path]) -> list[tuple[Path, Summary]]:
    """Every finished run below some folders, oldest first."""
    files = sorted({file for folder in folders for file in folder.rglob(SUMMARY)})
    return [(file.parent, json.loads(file.read_text())) for file in files]


def learning_curve(folder: Path) -> list[tuple[int, float, float]]:
    """(generation, seconds, test accuracy of individuals in %) wherever it was measured."""
    with (folder / METRICS).open(newline="") as file:
        return [
            (int(row["step"]), float(row["speed/seconds"]), 100 * float(row["test/individuals"]))
            for row in csv.DictReader(file)
            if row["test/individuals"]
        ]


def papers_value(experiment: str, dataset: str) -> float | None:
    """The accuracy in % that the paper's Table 1 has for the same task."""
    return PAPER.get(experiment.removesuffix("_paper")) if dataset == "mnist" else None


def seconds_to(accuracy: float | None, folders: list[Path]) -> str:
    """How long the individuals took to pass an accuracy, over runs that all did."""
    curves = [learning_curve(folder) for folder in folders] if accuracy else []
    passed = [min((s for _, s, found in curve if found >= accuracy), default=None) for curve in curves]  # type: ignore[operator]
    reached = [s for s in passed if s is not None]
    return spread(reached, scale=1) if reached and len(reached) == len(passed) else ""


def spread(values: list[float], scale: float = 100) -> str:
    """``mean ± sd`` of some values; the value alone where there is one."""
    middle = f"{scale * mean(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ± {scale * stdev(values):.1f}"


def table(runs: list[tuple[Path, Summary]]) -> list[dict[str, str]]:
    """One row per (experiment, genes, data set), over its seeds."""
    groups: dict[tuple[str, int, str], list[tuple[Path, Summary]]] = defaultdict(list)
    for folder, run in runs:
        groups[run["experiment"], run["config"]["learner"]["genes"], run["dataset"]].append((folder, run))
    rows = []
    for (experiment, genes, dataset), members in sorted(groups.items()):
        paper = papers_value(experiment, dataset)
        found = [run for _, run in members]
        rows.append(
            {
                "experiment": experiment,
                "genes": str(genes),
                "data": dataset,
                "paper": f"{paper}" if paper else "",
                "individuals": spread([r["individuals"]["mean"] for r in found]),
                "mean weights": spread([r["mean_weights"] for r in found]),
                "vote": spread([r["vote"] for r in found]),
                "seeds": ",".join(str(seed) for seed in sorted(r["seed"] for r in found)),
                "generations": "/".join(sorted({str(r["generations"]) for r in found})),
                "seconds": spread([r["seconds"] for r in found], scale=1),
                "seconds to paper": seconds_to(paper, [folder for folder, _ in members]),
                "machine": "; ".join(sorted({r["device"] for r in found})),
            }
        )
    return rows


def markdown(rows: list[dict[str, str]]) -> str:
    """The table as Markdown."""
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *[list(row.values()) for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw_learning(runs: list[tuple[Path, Summary]], path: Path) -> None:
    """Test accuracy of individuals against generations and seconds: a line a run, a colour an experiment."""
    from training import figures

    figure, (by_generation, by_second) = figures.pair()
    labels = sorted({(run["experiment"], run["dataset"]) for _, run in runs})
    for folder, run in runs:
        place = labels.index((run["experiment"], run["dataset"]))
        first = folder == next(f for f, r in runs if (r["experiment"], r["dataset"]) == labels[place])
        style: dict[str, Any] = {
            "color": f"C{place}",
            "linewidth": 1.0,
            "label": ", ".join(labels[place]) if first else None,
        }
        generations, seconds, accuracy = zip(*learning_curve(folder), strict=True)
        by_generation.plot(generations, accuracy, **style)
        by_second.plot(seconds, accuracy, **style)
    for value in sorted({v for v in (papers_value(*label) for label in labels) if v}):
        for axes in (by_generation, by_second):
            axes.axhline(value, color=figures.PAPER, linestyle="--", linewidth=0.8)
        across = by_second.get_yaxis_transform()  # x as a share of the axes, y in %
        by_second.text(1, value, f"paper, {value} %", transform=across, ha="right", va="bottom", fontsize=7)
    by_generation.set(xlabel="generations", ylabel="test accuracy of individuals, %", ylim=(0, 100))
    by_second.set(xlabel="seconds", ylim=(0, 100))
    by_generation.legend(fontsize=7, loc="lower right")
    figure.savefig(path)


def draw_figure2(runs: list[tuple[Path, Summary]], path: Path) -> Path:
    """Fig. 2 from the final checkpoint of the run with the most generations."""
    from nne.figures import convergence
    from training.checkpoint import load_latest

    folder, run = max(runs, key=lambda found: found[1]["generations"])
    state, _ = load_latest(folder / "checkpoints")
    history = dict(zip(state["history_generations"].tolist(), state["history_p"], strict=True))
    figure = convergence({**history, run["generations"]: state["p"]})
    figure.savefig(path)
    return folder


def draw_figure3(runs: list[tuple[Path, Summary]], path: Path) -> bool:
    """Fig. 3, accuracy against the number of genes, one line per experiment; false if no run differs in it."""
    from training import figures

    lines: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _, run in runs:
        label = f"{run['experiment']}, {run['dataset']}"
        lines[label][run["config"]["learner"]["genes"]].append(100 * run["individuals"]["mean"])
    lines = {label: by_genes for label, by_genes in lines.items() if len(by_genes) > 1}
    if not lines:
        return False
    figure, axes = figures.new()
    for label, by_genes in sorted(lines.items()):
        genes = sorted(by_genes)
        error = [stdev(by_genes[n]) if len(by_genes[n]) > 1 else 0.0 for n in genes]
        axes.errorbar(genes, [mean(by_genes[n]) for n in genes], error, marker="o", markersize=4, label=label)
    axes.set(xscale="log", xlabel="number of genes n", ylabel="test accuracy of individuals, %")
    axes.set_xticks(sorted({n for by_genes in lines.values() for n in by_genes}))
    axes.get_xaxis().set_major_formatter(lambda n, _: f"{n:g}")
    axes.minorticks_off()
    axes.legend(fontsize=7)
    figure.savefig(path)
    return True


def report(folders: list[Path], out: Path) -> None:
    """Print the table and write the files."""
    runs = find_runs(folders)
    if not runs:
        raise UserError(f"no finished run (no {SUMMARY}) under {', '.join(map(str, folders))}")
    rows = table(runs)
    print(markdown(rows))
    out.mkdir(parents=True, exist_ok=True)
    with (out / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draw_learning(runs, out / "learning.png")
    longest = draw_figure2(runs, out / "figure2.png")
    print(f"\nwritten to {out}: runs.csv, learning.png, figure2.png (from {longest})", end="")
    print(", figure3.png" if draw_figure3(runs, out / "figure3.png") else "; no figure 3: genes never vary")


def main() -> int:
    """Parse the command line and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("outputs")], help="where to look for runs")
    parser.add_argument("--out", type=Path, default=Path("outputs/report"), help="where to write")
    arguments = parser.parse_args()
    try:
        report(arguments.folders, arguments.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
