"""Sections 2 and 2.1 by experiment: `python scripts/theory.py theorem1|theorem2|cost [--out outputs/theory]`.

`theorem1` evolves random linear targets and counts the generations in which the loss fell less than guaranteed.
`theorem2` asks how often some p in [0, 1]^n has W p = a, by linear programming, and how well the genotype of the
proof points along a. `cost` finds how many individuals have to live for a network of m inputs to point along its
target, over the size of the population, and fits the exponent of its growth with m. Prints tables; writes CSV and PNG.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from nne.learners.config import LinearConfig
from nne.learners.linear import ROUNDING, LinearEvolution
from nne.theory.existence import aligned_genotype, frequencies_exist
from nne.theory.linear import LinearTarget, linear_target
from nne.training.config import Config, TrainerConfig
from nne.training.data.datasets import NOTHING
from nne.training.device import Compute
from nne.training.io.results import Row, publish, spread
from nne.training.logging import figures
from nne.training.logging.progress import track

CPU = Compute(torch.device("cpu"), torch.float32)
CLOSE = 0.9  # the cosine that counts as having learnt
PATIENCE = 1000  # generations
SIZES = tuple((m, k * m) for m in (2, 5, 10, 50) for k in (1, 10, 100))  # (m, n) of theorem1
DIMENSIONS = (5, 10, 20, 40)  # m of theorem2
RATIOS = (1.0, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0)  # n / m, where p is looked for
GENES = (10, 100, 1000, 10_000, 100_000)  # n, where x is looked for
INPUTS = (2, 3, 4, 6, 8, 12)  # m of cost


def theorem1(out: Path, seeds: int) -> list[Row]:
    """Generations of random targets in which the loss fell by less than guaranteed: none, says Theorem 1."""
    rows = []
    for m, n in track(SIZES, "sizes", len(SIZES)):
        falls = [fall for seed in range(10 * seeds) for fall in generations(m, n, max(m // 4, 1), seed)]
        wrong = sum(realised < guaranteed - slack for realised, guaranteed, slack in falls)
        ratio = [realised / guaranteed for realised, guaranteed, slack in falls if guaranteed > 1000 * slack]
        row = {"m": f"{m}", "n": f"{n}", "instances": f"{10 * seeds}", "generations": f"{len(falls)}"}
        rows.append(row | {"violations": f"{wrong}", "fell / guaranteed, least": f"{min(ratio):.3f}"})
    return rows


def generations(m: int, n: int, d: int, seed: int) -> Iterator[tuple[float, float, float]]:
    """How far the loss fell, how far at least it had to, and what rounding may cost, generation after generation."""
    learner = linear_evolution(LinearConfig(inputs=m, genes=n, nonzeros=d), 100, seed)
    for _ in range(100):
        metrics = learner.step()
        fell, guaranteed = metrics["decrease/realised"], metrics["decrease/guaranteed"]
        yield fell, guaranteed, ROUNDING * (metrics["loss"] + fell)


def linear_evolution(learner_config: LinearConfig, patience: int, seed: int) -> LinearEvolution:
    """The learner of `experiment=nne_linear` with other numbers."""
    config = Config(data=None, learner=learner_config, trainer=TrainerConfig(max_steps=patience), seed=seed)
    return LinearEvolution(config, NOTHING, CPU)


def theorem2(out: Path, seeds: int) -> list[Row]:
    """Existence: of allele frequencies with ``W p = a``, and of a genotype that points along ``a``."""
    rows: list[Row] = []
    figure, (left, right) = figures.pair()
    for m in track(DIMENSIONS, "dimensions", len(DIMENSIONS)):
        d = max(m // 4, 1)
        tries = 10 * seeds
        share = [mean(frequencies_exist(linear_target(m, round(r * m), d, s)) for s in range(tries)) for r in RATIOS]
        style = figures.series_style(len(rows))
        left.plot(RATIOS, share, **style, label=f"m = {m}")
        cosines = [[proof_cosine(linear_target(m, n, d, s)) for s in range(seeds)] for n in GENES]
        misses = [[1 - cosine for cosine in each] for each in cosines]
        right.plot(GENES, [mean(each) for each in misses], **style)
        right.fill_between(GENES, list(map(min, misses)), list(map(max, misses)), color=style["color"], alpha=0.15)
        row = {"m": f"{m}"} | {f"n/m = {r:g}": f"{s:.2f}" for r, s in zip(RATIOS, share, strict=True)}
        rows.append(row | {f"cos, n = {n:,}": spread(c, 4) for n, c in zip(GENES, cosines, strict=True)})
    left.set(xlabel="n / m", ylabel="share of targets with W p = a", ylim=(-0.05, 1.05))
    right.set(xscale="log", yscale="log", xlabel="number of genes n", ylabel="1 - cos(W x, a) of the proof's genotype")
    figures.legend(figure, left, columns=6)
    figures.write(figure, out / "theorem2.png")
    return rows


def proof_cosine(target: LinearTarget) -> float:
    """How well the genotype of Theorem 2's proof points along the target."""
    return target.cosine(target.W @ aligned_genotype(target).double())


def cost(out: Path, seeds: int) -> list[Row]:
    """The fewest individuals, generations x N, until ``W p`` is close to the target, with ``n = 2 m^3`` genes."""
    rows, costs = [], []
    for m in track(INPUTS, "dimensions", len(INPUTS)):
        cheapest = [fewest(m, seed) for seed in range(seeds)]
        costs.append([individuals for individuals, _, _ in cheapest])
        row = {"m": f"{m}", "n": f"{2 * m**3}", "N": spread((N for _, N, _ in cheapest), 0)}
        row |= {"generations": spread((g for _, _, g in cheapest), 0)}
        rows.append(row | {"individuals that lived": spread(costs[-1], 0)})
    exponent, error, line = power_law(INPUTS, costs)
    figure, axes = figures.new()
    middle = [mean(f) for f in costs]
    axes.plot(INPUTS, [line(m) for m in INPUTS], label=f"m^({exponent:.2f} ± {error:.2f})")
    axes.plot(INPUTS, middle, linestyle="", marker="o", color=figures.COLOURS[1], label="mean over instances")
    axes.fill_between(INPUTS, [min(each) for each in costs], [max(each) for each in costs], alpha=0.15)
    axes.set(xscale="log", yscale="log", xlabel="inputs m", ylabel=f"individuals until the cosine is {CLOSE:g}")
    axes.set_xticks(INPUTS, [str(m) for m in INPUTS])
    axes.minorticks_off()
    figures.legend(figure, axes)
    figures.write(figure, out / "cost.png")
    print(f"individuals grow as m^({exponent:.2f} ± {error:.2f})")
    return rows


def fewest(m: int, seed: int) -> tuple[float, int, int]:
    """The fewest individuals that had to live over populations of several sizes; N; the generations."""
    best = float("inf"), 0, 0
    for N in (2**k * m**2 for k in range(1, 10)):
        best = min(best, lives(m, N, seed, best[0]))
    return best


def lives(m: int, N: int, seed: int, enough: float) -> tuple[float, int, int]:
    """Individuals that lived until the target was learnt, N, and the generations; infinite if it takes too many."""
    learner_config = LinearConfig(inputs=m, genes=2 * m**3, nonzeros=max(m // 2, 1), population=N, stop_at_cosine=CLOSE)
    learner = linear_evolution(learner_config, PATIENCE, seed)
    while not learner.reason_to_stop():
        if learner.generation == PATIENCE or N * learner.generation >= enough:
            return float("inf"), N, learner.generation
        learner.step()
    return float(N * learner.generation), N, learner.generation


def power_law(sizes: Iterable[int], numbers: list[list[float]]) -> tuple[float, float, Callable[[float], float]]:
    """The exponent of growth with its standard error, by least squares on logarithms, and the fitted curve."""
    pairs = [(np.log(m), np.log(v)) for m, values in zip(sizes, numbers, strict=True) for v in values]
    x, y = np.array(pairs).T
    (slope, offset), covariance = np.polyfit(x, y, 1, cov=True)
    return float(slope), float(covariance[0, 0] ** 0.5), lambda m: float(np.exp(offset) * m**slope)


WHAT = {"theorem1": theorem1, "theorem2": theorem2, "cost": cost}


def main() -> None:
    """Parse the command line, experiment, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("--out", type=Path, default=Path("outputs/theory"), help="where to write")
    parser.add_argument("--seeds", type=int, default=3, help="instances of each (theorems: ten times as many)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = WHAT[arguments.what](arguments.out, arguments.seeds)
    publish(rows, arguments.out, arguments.what)


if __name__ == "__main__":
    main()
