"""A population that breeds and of which the fittest stay: a genetic algorithm with uniform crossover."""

import numpy as np

from nne.optimization.pyramid import Genotypes, Numbers, Search

PARENTS = 50
ATTEMPTS = 100  # to breed a child that is new
CROSSED = 0.5  # the share of children that have two parents


def breeding(n: int, rng: np.random.Generator) -> Search:
    """The search, for ever.

    Each parent is the fitter of two from chance. A child has each gene from either of two parents, or all from one;
    then each gene flips with probability ``1 / n``. Those that the population has already are not evaluated. Parents
    and children compete for the ``PARENTS`` places, and of equals the younger stay.
    """
    population: Genotypes = rng.random((PARENTS, n)) < 0.5
    fitness = yield population
    while True:
        attempts = (bred(population, fitness, rng) for _ in range(ATTEMPTS))
        children = next((each for each in attempts if len(each)), population[:1])  # of few genes, all may be known
        told = yield children
        population, fitness = np.concatenate([children, population]), np.concatenate([told, fitness])
        fittest = np.argsort(-fitness, kind="stable")[:PARENTS]
        population, fitness = population[fittest], fitness[fittest]


def bred(population: Genotypes, fitness: Numbers, rng: np.random.Generator) -> Genotypes:
    """Children that nobody is equal to, at most ``PARENTS``."""
    shape = len(population), population.shape[1]

    def parents() -> Genotypes:
        first, second = rng.integers(0, len(population), (2, len(population)))
        fitter: Genotypes = population[np.where(fitness[first] >= fitness[second], first, second)]
        return fitter

    mother, father = parents(), parents()
    from_father = (rng.random(shape) < 0.5) & (rng.random((shape[0], 1)) < CROSSED)
    children: Genotypes = np.where(from_father, father, mother) ^ (rng.random(shape) < 1 / shape[1])
    packed = [row.tobytes() for row in np.packbits(np.concatenate([population, children]), axis=1)]
    first_of = {row: i for i, row in reversed(list(enumerate(packed)))}
    new: Genotypes = children[[i - shape[0] for i in sorted(first_of.values()) if i >= shape[0]]]
    return new
