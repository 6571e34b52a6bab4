"""Evolution towards a linear target, the learner: eq. (3) beside what Theorem 1 guarantees of it (Sec. 2.1)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from nne.fitness import AlleleMeans, allele_means, carrier_sums
from nne.genome import draw, fixed_fraction, heterozygosity, initial_frequencies
from nne.learners.config import LinearConfig
from nne.selection import weak_selection
from nne.theory.linear import allele_fitness, guaranteed_decrease, largest_epsilon, linear_target
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute, require_memory
from nne.training.learner import Learner, Metrics, State, check_state

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TILE = 64  # genotypes at a time
ROUNDING = 1e-12  # of the loss, within which a fall as large as guaranteed counts as one


class LinearEvolution(Learner):
    """Allele frequencies ``p: [n]`` whose ``W p`` comes to point along ``a``."""

    step_name = "generation"
    headline = "cosine"
    result = "cosine"
    charts: ClassVar[dict[str, list[str]]] = {
        "cosine of W p and the target": ["cosine"],
        "loss": ["loss"],
        "decrease of the loss in a generation": ["decrease/realised", "decrease/guaranteed"],
        "genetic variation": ["population/heterozygosity", "population/fixed"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        learner_config: LinearConfig = config.learner
        self.learner_config = learner_config
        self.seed = config.seed
        self.compute = compute
        self.device = compute.device
        matrices = 3 * 8 * learner_config.inputs * learner_config.genes
        require_memory(matrices, self.device, "learner.genes", learner_config.genes)
        target = linear_target(learner_config.inputs, learner_config.genes, learner_config.nonzeros, config.seed)
        self.target = type(target)(target.W.to(self.device), target.a.to(self.device))
        self.p = initial_frequencies(learner_config.genes, config.seed).to(self.device)
        self.w = self.target.W @ self.p
        self.generation = self.violations = 0

    def step(self) -> Metrics:
        """One generation: everyone's fitness is minus their expected loss."""
        target, p = self.target, self.p
        loss, gradient = target.loss(p, self.w), target.gradient(p, self.w)
        f, f_bar = allele_fitness(p, loss, gradient)
        epsilon = self.learner_config.epsilon or largest_epsilon(f, f_bar, target.H)
        if self.learner_config.population is None:
            self.p = weak_selection(p, f, f_bar, epsilon)
        else:
            sample = self.sampled_fitness(self.learner_config.population)
            self.p = torch.where(sample.polymorphic, weak_selection(p, sample.f, sample.f_bar, epsilon), p)
        self.w = target.W @ self.p
        decreases = loss - target.loss(self.p, self.w), guaranteed_decrease(p, loss, gradient, epsilon)
        alleles = heterozygosity(self.p), fixed_fraction(self.p)
        before, realised, guaranteed, heterozygous, fixed = torch.stack([loss, *decreases, *alleles]).tolist()
        self.generation += 1
        self.violations += realised < guaranteed - ROUNDING * before
        return {
            "loss": before - realised,
            "decrease/realised": realised,
            "decrease/guaranteed": guaranteed,
            "population/heterozygosity": heterozygous,
            "population/fixed": fixed,
            "selection/epsilon": epsilon,
        }

    def sampled_fitness(self, individuals: int) -> AlleleMeans:
        """Of a population drawn from ``p``."""
        tiles = [range(i, min(i + TILE, individuals)) for i in range(0, individuals, TILE)]

        def genotypes() -> Iterator[Tensor]:
            return (draw(self.p, self.seed, self.generation, tile) for tile in tiles)

        fitness = torch.cat([-self.target.losses(x) for x in genotypes()])
        return allele_means(fitness, lambda rows: carrier_sums(genotypes(), rows))

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """The cosine of the angle between ``W p`` and ``a``."""
        return {"cosine": self.target.cosine(self.w)}

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """The cosine, the loss, and in how many generations the loss fell less than Theorem 1 guarantees."""
        return {
            "cosine": self.target.cosine(self.w),
            "error": float((self.w - self.target.a).norm()),
            "loss": float(self.target.loss(self.p, self.w)),
            "generations": self.generation,
            "violations_of_theorem_1": self.violations,
            "heterozygosity": float(heterozygosity(self.p)),
        }

    def reason_to_stop(self) -> str | None:
        """The angle is as small as was asked for."""
        enough = self.learner_config.stop_at_cosine
        if enough is None:
            return None
        cosine = self.target.cosine(self.w)
        return f"the cosine is {cosine:.4f}" if cosine >= enough else None

    def histograms(self) -> dict[str, Tensor]:
        """The distribution of allele frequencies."""
        return {"population/p": self.p}

    def figures(self, images: Tensor, labels: Tensor) -> "Iterator[tuple[str, Figure]]":
        """``W p`` against ``a``, input by input."""
        from nne.analysis import figures

        yield "weights", figures.against_target(self.w, self.target.a, self.generation)

    def state_dict(self) -> State:
        """``p``, the generation, and how often Theorem 1 was violated. No random state: draws depend on the seed."""
        return {"p": self.p, "generation": torch.tensor(self.generation), "violations": torch.tensor(self.violations)}

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved generation."""
        check_state(state, self.state_dict(), f"anything but {len(self.p)} allele frequencies")
        self.p = state["p"].to(self.device)
        self.w = self.target.W @ self.p
        self.generation = int(state["generation"])
        self.violations = int(state["violations"])
