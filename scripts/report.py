"""Read finished runs and print what they found; draw the paper's figures: `python scripts/report.py outputs`.

Prints one table, a row per experiment and setting (mean ± sd over seeds), as Markdown, and writes beside it
`runs.csv`, `figure2.png` (allele frequencies of the longest run) and `figure3.png` (accuracy against the number of
genes, where runs differ in it). Only `summary.json` and checkpoints are read.
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
from training.run_folder import SUMMARY

PAPER_ACCURACY = {"nne_mnist10": 0.788, "nne_mnist5": 0.921}
Summary = dict[str, Any]


def find_runs(folders: list[Path]) -> list[tuple[Path, Summary]]:
    """Every finished run below some folders, oldest first."""
    files = sorted({file for folder in folders for file in folder.rglob(SUMMARY)})
    return [(file.parent, json.loads(file.read_text())) for file in files]


def spread(values: list[float], scale: float = 100) -> str:
    """``mean ± sd`` of some values; the value alone where there is one."""
    middle = f"{scale * mean(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ± {scale * stdev(values):.1f}"


def table(runs: list[tuple[Path, Summary]]) -> list[dict[str, str]]:
    """One row per (experiment, genes, data set), over its seeds."""
    groups: dict[tuple[str, int, str], list[Summary]] = defaultdict(list)
    for _, run in runs:
        groups[run["experiment"], run["config"]["learner"]["genes"], run["dataset"]].append(run)
    rows = []
    for (experiment, genes, dataset), found in sorted(groups.items()):
        paper = PAPER_ACCURACY.get(experiment.removesuffix("_paper"))
        rows.append(
            {
                "experiment": experiment,
                "genes": str(genes),
                "data": dataset,
                "paper": f"{100 * paper:.1f}" if paper and dataset == "mnist" else "",
                "individuals": spread([r["individuals"]["mean"] for r in found]),
                "mean weights": spread([r["mean_weights"] for r in found]),
                "vote": spread([r["vote"] for r in found]),
                "seeds": ",".join(str(r["seed"]) for r in found),
                "generations": "/".join(sorted({str(r["generations"]) for r in found})),
                "seconds": spread([r["seconds"] for r in found], scale=1),
                "machine": "; ".join(sorted({r["device"] for r in found})),
            }
        )
    return rows


def markdown(rows: list[dict[str, str]]) -> str:
    """The table as Markdown."""
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *[list(row.values()) for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
        label = f"{run['experiment']}, {run['dataset']}, {run['generations']} generations"
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
    longest = draw_figure2(runs, out / "figure2.png")
    print(f"\nwritten: {out / 'runs.csv'}, {out / 'figure2.png'} (from {longest})", end="")
    print(f", {out / 'figure3.png'}" if draw_figure3(runs, out / "figure3.png") else "; no figure 3: genes never vary")


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
