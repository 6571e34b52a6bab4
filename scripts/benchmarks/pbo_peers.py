"""What people use for bits today: library peers, as their documentation shows them, and the textbook's references.

Each is a function ``(f, n, rng)`` that searches until ``f`` raises; ``f`` gives the fitness of ``[B, n]`` genotypes.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nne import Evolution
from nne.optimization.optimizer import Optimizer, run

Fitness = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
Competitor = Callable[[Fitness, int, np.random.Generator], object]
FOREVER = 10**9


def asked(f: Fitness) -> Callable[[torch.Tensor], NDArray[np.float64]]:
    """``f`` of tensors."""
    return lambda x: f(x.numpy())


def ours(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """``nne.optimize``, which has no settings."""
    return run(Optimizer(n, seed=int(rng.integers(2**31))), asked(f), FOREVER)


def equation_3(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """``nne.Evolution`` of 50 individuals with mutation, begun anew once all alleles are fixed."""
    while True:
        seed = int(rng.integers(2**31))
        run(Evolution(n, 50, p0=0.5, border=1 / n, seed=seed), asked(f), FOREVER)


def pymoo(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """Its genetic algorithm with its operators for binary variables."""
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.pntx import TwoPointCrossover
    from pymoo.operators.mutation.bitflip import BitflipMutation
    from pymoo.operators.sampling.rnd import BinaryRandomSampling
    from pymoo.optimize import minimize

    class Negative(Problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=n, n_obj=1, xl=0, xu=1, vtype=bool)

        def _evaluate(self, X: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"] = -f(X.astype(bool))[:, None]

    operators = {
        "sampling": BinaryRandomSampling(),
        "crossover": TwoPointCrossover(),
        "mutation": BitflipMutation(),
        "eliminate_duplicates": True,
    }
    return minimize(Negative(), GA(pop_size=100, **operators), ("n_gen", FOREVER), seed=int(rng.integers(2**31)))


def pygad(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """Its genetic algorithm: uniform crossover, mutation of one gene in a hundred, the best parents stay."""
    import pygad as library

    logging.getLogger("pygad").setLevel(logging.ERROR)
    while True:
        library.GA(
            num_generations=2000,
            num_parents_mating=50,
            sol_per_pop=100,
            num_genes=n,
            gene_type=int,
            gene_space=[0, 1],
            crossover_type="uniform",
            mutation_probability=1 / n,
            keep_elitism=5,
            fitness_batch_size=100,
            fitness_func=lambda ga, solutions, which: f(np.asarray(solutions, dtype=bool)).tolist(),
            random_seed=int(rng.integers(2**31)),
            suppress_warnings=True,
        ).run()


def deap(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """``eaSimple`` as in its OneMax example: tournaments of three, two-point crossover, flips with probability 1/n."""
    import random

    from deap import algorithms, base, creator, tools

    random.seed(int(rng.integers(2**31)))
    if not hasattr(creator, "Bits"):
        creator.create("Most", base.Fitness, weights=(1.0,))
        creator.create("Bits", list, fitness=creator.Most)
    box = base.Toolbox()
    box.register("bit", random.randint, 0, 1)
    box.register("individual", tools.initRepeat, creator.Bits, box.bit, n)
    box.register("population", tools.initRepeat, list, box.individual)
    box.register("evaluate", lambda x: (float(f(np.array([x], dtype=bool))[0]),))
    box.register("mate", tools.cxTwoPoint)
    box.register("mutate", tools.mutFlipBit, indpb=1 / n)
    box.register("select", tools.selTournament, tournsize=3)
    return algorithms.eaSimple(box.population(n=100), box, cxpb=0.5, mutpb=1.0, ngen=FOREVER, verbose=False)


def pycma(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """CMA-ES on [0, 1]^n, rounded."""
    import cma

    while True:
        options = {"bounds": [0, 1], "verbose": -9, "seed": int(rng.integers(1, 2**31)), "maxfevals": FOREVER}
        strategy = cma.CMAEvolutionStrategy(rng.random(n), 0.3, options)
        while not strategy.stop():
            x = strategy.ask()
            strategy.tell(x, (-f(np.array(x) > 0.5)).tolist())


def nevergrad(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """``DiscreteOnePlusOne``, its method for unordered choices, on transitions between two values."""
    import nevergrad as ng

    space = ng.p.TransitionChoice([0, 1], repetitions=n)
    space.random_state.seed(int(rng.integers(2**31)))
    optimizer = ng.optimizers.registry["DiscreteOnePlusOne"](parametrization=space, budget=FOREVER)
    while True:
        x = optimizer.ask()
        optimizer.tell(x, -float(f(np.array([x.value], dtype=bool))[0]))


def local_search(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """RLS: one flip from chance, kept if it is no worse."""
    x = rng.random(n) < 0.5
    (fitness,) = f(x[None])
    while True:
        gene = rng.integers(n)
        x[gene] ^= True
        (flipped,) = f(x[None])
        if flipped < fitness:
            x[gene] ^= True
        fitness = max(fitness, flipped)


def one_plus_one(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """(1+1) EA: each gene flips with probability 1/n, but at least one."""
    x = rng.random(n) < 0.5
    (fitness,) = f(x[None])
    while True:
        flips = rng.random(n) < 1 / n
        if flips.any():
            (flipped,) = f((x ^ flips)[None])
            if flipped >= fitness:
                x, fitness = x ^ flips, flipped


def lambda_lambda(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """(1+(l,l)) GA with one fifth rule (Doerr and Doerr 2015)."""
    x = rng.random(n) < 0.5
    (fitness,) = f(x[None])
    l = 1.0  # noqa: E741
    while True:
        size = max(round(l), 1)
        flips = max(rng.binomial(n, min(size / n, 1.0)), 1)
        mutants = np.repeat(x[None], size, axis=0)
        for mutant in mutants:
            mutant[rng.choice(n, flips, replace=False)] ^= True
        best = mutants[f(mutants).argmax()]
        children = np.where(rng.random((size, n)) < 1 / size, best, x)
        told = f(children)
        fittest = told.argmax()
        l = max(l / 1.5, 1.0) if told[fittest] > fitness else min(l * 1.5**0.25, n)  # noqa: E741
        if told[fittest] >= fitness:
            x, fitness = children[fittest], told[fittest]


def umda(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """UMDA: the better half of 100 gives the frequencies, which stay 1/n away from 0 and 1."""
    p = np.full(n, 0.5)
    while True:
        x = rng.random((100, n)) < p
        p = x[np.argsort(-f(x), kind="stable")[:50]].mean(axis=0).clip(1 / n, 1 - 1 / n)


def pbil(f: Fitness, n: int, rng: np.random.Generator) -> object:
    """PBIL of 50, a tenth of the way towards the best tenth, 1/n away from 0 and 1."""
    p = np.full(n, 0.5)
    while True:
        x = rng.random((50, n)) < p
        p = (0.9 * p + 0.1 * x[np.argsort(-f(x), kind="stable")[:5]].mean(axis=0)).clip(1 / n, 1 - 1 / n)


LIBRARIES: dict[str, Competitor] = {
    "pymoo": pymoo,
    "DEAP": deap,
    "pygad": pygad,
    "pycma": pycma,
    "nevergrad": nevergrad,
}
REFERENCES: dict[str, Competitor] = {
    "RLS": local_search,
    "(1+1) EA": one_plus_one,
    "(1+(l,l)) GA": lambda_lambda,
    "UMDA": umda,
    "PBIL": pbil,
}
OURS = "nne.optimize"
COMPETITORS: dict[str, Competitor] = {OURS: ours, "nne.Evolution": equation_3, **LIBRARIES, **REFERENCES}
