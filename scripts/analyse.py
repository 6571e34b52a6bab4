"""What evolution made, from finished runs: `python scripts/analyse.py architecture|gradient RUN...`.

`architecture` (Sec. 4, item 4): effective density, weights near zero, effective degrees, dead and redundant hidden
units of individuals at milestones of their evolution, and test accuracy once what seems idle is pruned.
`gradient` (Lemma 1): the cosine between evolution's step and the gradient of mean fitness, which is estimated with a
large population. Runs are of one experiment with several seeds: figures are means ± standard errors over them.
Prints Markdown; writes CSV, and PNG.
"""

import argparse
import sys
from collections.abc import Callable
from math import isnan
from pathlib import Path

from matplotlib.axes import Axes
from torch import Tensor

from nne.analysis.architecture import Structure, logits, structure, without_idle_units, without_weakest
from nne.analysis.gradient import alignment
from nne.genome import draw
from nne.learners.evolved import Evolved, evolved
from nne.learners.metrics import centred_by
from nne.learners.network import NetworkEvolution
from nne.population.factory import blueprint
from nne.training import data, device
from nne.training.errors import exit_code, require
from nne.training.io.results import Row, publish, spread
from nne.training.logging import figures
from nne.training.logging.progress import track

INDIVIDUALS = 5  # measured of every population
SHARES = (0.25, 0.5, 0.75, 0.9)  # of the weakest links that are cut
NAMES = {
    "density": "effective density, %",
    "zero": "weights near zero, %",
    "in_degree": "effective in-degree",
    "out_degree": "effective out-degree",
    "dead": "dead units, %",
    "redundant": "redundant units, %",
}

Measured = dict[int, dict[str, float]]
"""By generation, figures by name."""


def architecture(runs: list[Evolved], out: Path, _: int) -> list[Row]:
    """What individuals are made of at every milestone, and what they can do without."""
    measured = [networks(run) for run in track(runs, "runs", len(runs))]
    figure, (left, right) = figures.pair(width=8.4)
    plot(left, measured, list(NAMES.values()))
    plot(right, measured, [name for name in measured[0][0] if name not in NAMES.values()])
    left.set(yscale="symlog", ylabel="per cent, or links")
    right.set(ylabel="test accuracy of individuals, %", ylim=(0, 100))
    figures.legend(figure, left, columns=2, place="lower left")
    figures.legend(figure, right, columns=2, place="lower right")
    figures.write(figure, out / "architecture.png")
    return table(measured)


def networks(run: Evolved) -> Measured:
    """Of one run. Individuals are drawn from each milestone's ``p``; hidden units are judged on training images."""
    network, seed = run.config.network, run.config.seed
    require(network is not None and not network.module, "a run's network.module has no hidden units to count")
    assert network is not None
    require(network.cap is None, f"a run's network.cap={network.cap} is not known here: units are counted without one")
    images = data.load(run.config.images, seed)
    topology, W = blueprint(run.config, images)
    learnt, unseen = (topology.see(each) for each in (images.train_images, images.test_images))
    zero_by = centred_by(run.config.learner, learnt)
    present = [cells >= 0 for cells in topology.slots()]
    milestones: Measured = {}
    for generation, p in run.history.items():
        x = draw(p, seed, generation, range(INDIVIDUALS), stream="architecture")
        made = [matrix.float() for matrix in topology.matrices(W.weights(x).T)]
        measured: Structure = structure(made, present, learnt)

        def accuracy(matrices: list[Tensor]) -> float:
            zero = 0 if zero_by is None else logits(matrices, zero_by).mean(dim=2, keepdim=True)
            answers = (logits(matrices, unseen) - zero).argmax(dim=1)
            return 100 * float((answers == images.test_labels).double().mean())

        milestones[generation] = {
            **{NAMES[name]: value * (100 if "%" in NAMES[name] else 1) for name, value in measured._asdict().items()},
            "accuracy, %": accuracy(made),
            "without idle units": accuracy(without_idle_units(made, learnt)),
            **{f"without {share:.0%} of links": accuracy(without_weakest(made, share)) for share in SHARES},
        }
    return milestones


def gradient(runs: list[Evolved], out: Path, population: int) -> list[Row]:
    """How near the steps of evolution came to the gradient of mean fitness, milestone by milestone."""
    measured = [steps(run, population) for run in track(runs, "runs", len(runs))]
    figure, axes = figures.new()
    plot(axes, measured, list(measured[0][0]))
    axes.set(ylabel="cosine")
    figures.legend(figure, axes, columns=1)
    figures.write(figure, out / "gradient.png")
    return table(measured, digits=3)


def steps(run: Evolved, population: int) -> Measured:
    """Of one run."""
    compute = device.choose("auto", run.config.precision)
    images = data.load(run.config.images, run.config.seed).to(compute.device)
    measured: Measured = {}
    for generation, p in run.history.items():
        learner = NetworkEvolution(run.config, images, compute)
        near = alignment(learner, p, generation, population)
        measured[generation] = {
            "cos(step, p (1 - p) (f - f̄))": near.natural,
            "cos(step, f - f̄)": near.gradient,
            "cos of the estimate's halves": near.reliability,
        }
    return measured


def plot(axes: Axes, measured: list[Measured], names: list[str]) -> None:
    """A line a run, a look a name, against generations."""
    for i, name in enumerate(names):
        for run in measured:
            label = name if run is measured[0] else None
            axes.plot(list(run), [row[name] for row in run.values()], **figures.series_style(i), label=label)
    axes.set(xscale="symlog", xlabel="generations")


def table(measured: list[Measured], digits: int = 1) -> list[Row]:
    """Mean ± standard error over runs: the milestones that all runs reached, and their ends."""
    shared = [generation for generation in measured[0] if all(generation in run for run in measured)]
    rows = [(f"{generation}", [run[generation] for run in measured]) for generation in shared]
    if not all(max(run) == shared[-1] for run in measured):
        rows.append(("end", [run[max(run)] for run in measured]))

    def cell(values: list[float]) -> str:
        return "lost in noise" if any(isnan(value) for value in values) else spread(values, digits)

    return [
        {"generation": when, **{name: cell([row[name] for row in measured]) for name in measured[0]}}
        for when, measured in rows
    ]


WHAT: dict[str, Callable[[list[Evolved], Path, int], list[Row]]] = {"architecture": architecture, "gradient": gradient}


def main() -> int:
    """Parse the command line, analyse, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished or unfinished runs of evolution")
    parser.add_argument("--out", type=Path, default=Path("outputs/theory"), help="where to write")
    parser.add_argument("--population", type=int, default=20_000, help="individuals that estimate the gradient")
    arguments = parser.parse_args()

    def work() -> None:
        require(arguments.population >= 4, f"--population must be at least 4, got {arguments.population}")
        runs = [evolved(folder, f"{folder}") for folder in arguments.runs]
        arguments.out.mkdir(parents=True, exist_ok=True)
        publish(WHAT[arguments.what](runs, arguments.out, arguments.population), arguments.out, arguments.what)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
