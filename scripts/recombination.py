"""When is eq. (3) a good model of a population? `python scripts/recombination.py additive|rugged|mnist`.

Eq. (3) draws every individual anew from the allele frequencies; in a population (nne/wright_fisher.py) children inherit
what alleles their parents had together. Both evolve with the same strength of selection, from the same first genotypes:
`additive`, a sum over 200 genes of unequal worth; `rugged`, an NK landscape of 100 genes that each depend on two
others; `mnist`, the networks of `experiment=nne_mnist10`. Prints tables; writes CSV and PNG.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from nne import Evolution, WrightFisher
from nne.learners.metrics import measure
from nne.learners.network import NetworkEvolution
from nne.registry import composed
from nne.training import data, device
from nne.training.errors import exit_code
from nne.training.io.results import Row, publish, spread
from nne.training.logging import figures
from nne.training.logging.progress import track
from nne.training.seeding import generator

RATES: list[float | None] = [None, 0.5, 0.1, 0.01, 0.0]
"""Recombination, and ``None`` for eq. (3)."""
EPSILON = 0.5  # of additive and rugged


@dataclass(frozen=True)
class Course:
    """How a population fared.

    fitness: the mean of its individuals, generation after generation.
    linkage: the mean r^2 of pairs of genes, of populations that have any.
    fixed: the share of alleles fixed in the end.
    seconds: of all.
    accuracy: on test images in the end, %, if it is of networks.
    """

    fitness: list[float]
    linkage: list[float]
    fixed: float
    seconds: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Problem:
    """What is evolved, in populations of which sizes, for how long."""

    genes: int
    sizes: tuple[int, ...]
    generations: int
    fitness: Callable[[int], Callable[[Tensor, int], Tensor]]
    """Of a seed: the fitness of genotypes ``[N, n]`` in a generation."""


def additive(seed: int) -> Callable[[Tensor, int], Tensor]:
    """A sum over genes whose worth is exponentially distributed, as a share of the most there is."""
    worth = torch.empty(200, dtype=torch.float64).exponential_(generator=generator(seed, "worth"))
    return lambda x, generation: x.double() @ worth / worth.sum()


def rugged(seed: int) -> Callable[[Tensor, int], Tensor]:
    """The mean over genes of what is from chance, and depends on the gene and on two others."""
    stream, n = generator(seed, "landscape"), 100
    others = torch.stack([torch.randperm(n, generator=stream)[:2] for _ in range(n)])
    which = torch.cat([torch.arange(n)[:, None], others], dim=1)
    table = torch.rand(n, 8, generator=stream, dtype=torch.float64)
    powers = torch.tensor([1, 2, 4])
    return lambda x, generation: table[torch.arange(n), (x[:, which] * powers).sum(dim=2)].mean(dim=1)


PROBLEMS = {
    "additive": Problem(200, (50, 1000), 150, additive),
    "rugged": Problem(100, (50, 1000), 150, rugged),
}


def evolved(problem: Problem, N: int, rate: float | None, seed: int) -> Course:
    """One population's course."""
    f, start = problem.fitness(seed), time.perf_counter()
    linkage = []
    population: Evolution | WrightFisher
    if rate is None:
        population = Evolution(problem.genes, N, epsilon=EPSILON, seed=seed)
    else:
        population = WrightFisher(problem.genes, N, recombination=rate, epsilon=EPSILON, seed=seed)
    means = []
    for generation in range(problem.generations):
        metrics = population.tell(f(population.ask(), generation))
        means.append(metrics["fitness/mean"])
        linkage.append(metrics.get("population/linkage", 0.0))
    return Course(means, linkage, metrics["population/fixed"], time.perf_counter() - start)


def networks(N: int, rate: float | None, seed: int, generations: int) -> Course:
    """The same of networks that see other images in every generation."""
    config = composed("experiment=nne_mnist10", f"learner.population={N}", f"seed={seed}", "learner.freeze=null")
    compute = device.choose(config.device, config.precision)
    images = data.load(config.images, seed).to(compute.device)
    learner = NetworkEvolution(config, images, compute)
    genes, epsilon = config.learner.genes, config.learner.epsilon
    population = (
        learner.evolution
        if rate is None
        else WrightFisher(genes, N, recombination=rate, epsilon=epsilon, seed=seed, device=compute.device)
    )
    start, means, linkage = time.perf_counter(), [], []
    for generation in range(generations):
        chosen = learner.environment.chosen(generation).to(compute.device)
        x = population.ask()
        rewards = learner.environment.rewards_of(
            lambda who, x=x: x[who.start : who.stop],  # type: ignore[misc]
            N,
            images.train_images[chosen],
            images.train_labels[chosen],
        )
        metrics = population.tell(rewards) if rate is not None else learner.evolution.tell(rewards, epsilon)
        means.append(metrics["fitness/mean"])
        linkage.append(metrics.get("population/linkage", 0.0))
    seconds = time.perf_counter() - start
    x = population.ask()
    reached = measure(
        learner.tested,
        population.p,
        lambda who: x[who.start : who.stop],
        min(N, 100),
        images.test_images,
        images.test_labels,
        learner.environment.temperature,
    )
    return Course(means, linkage, metrics["population/fixed"], seconds, 100 * reached.mean)


def compared(what: str, seeds: int, generations: int) -> Iterator[tuple[int, float | None, list[Course]]]:
    """For each size and rate, its courses."""
    sizes = PROBLEMS[what].sizes if what in PROBLEMS else (200, 1000)
    every = [(N, rate) for N in sizes for rate in RATES]
    for N, rate in track(every, what, len(every)):
        if what in PROBLEMS:
            yield N, rate, [evolved(PROBLEMS[what], N, rate, seed) for seed in range(seeds)]
        else:
            yield N, rate, [networks(N, rate, seed, generations) for seed in range(seeds)]


def named(rate: float | None) -> str:
    """As tables and figures say it."""
    return "eq. (3)" if rate is None else f"r = {rate:g}"


def experiment(what: str, out: Path, seeds: int, generations: int) -> None:
    """The table and the figure of a problem."""
    rows: list[Row] = []
    figure, both = figures.pair()
    found = list(compared(what, seeds, generations))
    sizes = sorted({N for N, _, _ in found})
    for N, rate, courses in found:
        row = {"N": f"{N:,}", "population": named(rate)}
        row["mean fitness"] = spread((c.fitness[-1] for c in courses), 3)
        if courses[0].accuracy is not None:
            row["test accuracy, %"] = spread((c.accuracy or 0.0 for c in courses), 1)
        row["linkage, most"] = "" if rate is None else spread((max(c.linkage) for c in courses), 3)
        row["alleles fixed"] = spread((c.fixed for c in courses), 2)
        row["seconds"] = f"{mean(c.seconds for c in courses):.1f}"
        rows.append(row)
        axes = both[sizes.index(N)]
        curve = [mean(each) for each in zip(*(c.fitness for c in courses), strict=True)]
        style = figures.series_style(RATES.index(rate)) | {"markevery": max(len(curve) // 6, 1)}
        axes.plot(range(1, len(curve) + 1), curve, **style, label=named(rate))
        axes.set(title=f"N = {N:,}", xlabel="generation")
    both[0].set_ylabel("mean fitness")
    figures.legend(figure, both[0], columns=5)
    publish(rows, out, what)
    figures.write(figure, out / f"{what}.png")


def main() -> int:
    """Parse the command line, evolve, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=[*PROBLEMS, "mnist"])
    parser.add_argument("--out", type=Path, default=Path("outputs/recombination"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--generations", type=int, default=300, help="of mnist")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    def work() -> None:
        for what in given.what:
            experiment(what, given.out, given.seeds, given.generations)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
