"""Neural net evolution, the learner: one generation is draw, express, evaluate, select (Sec. 2 and 3.1)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from nne.config import EvolutionConfig
from nne.expression import sparse_weight_matrix
from nne.fitness import TRANSFORMS, AlleleMeans, allele_means, reward
from nne.genome import draw, fixed_fraction, heterozygosity, initial_frequencies
from nne.performance import Performance, measure
from nne.population import Population
from nne.response import additive_variance, noise, predicted_response
from nne.selection import weak_selection
from training.config import Config
from training.data import Dataset
from training.device import Compute
from training.errors import require
from training.learner import Metrics, State, is_milestone
from training.network import sparse_topology
from training.seeding import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Evolution:
    """Allele frequencies ``p: [n]`` that evolve because some genotypes classify better than others."""

    step_name = "generation"
    headline = "test/individuals"
    result = "test_accuracy"
    charts: ClassVar[dict[str, list[str]]] = {
        "accuracy on the test set": ["test/individuals", "test/modal", "test/mean_weights", "test/vote"],
        "genetic variation": ["population/heterozygosity", "population/fixed"],
        "fitness": ["fitness/mean", "fitness/best"],
        "response to selection": ["response/realised", "response/predicted"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        own = config.learner
        assert isinstance(own, EvolutionConfig)
        self.config, self.seed, self.generations = own, config.seed, config.trainer.max_steps
        self.device = compute.device
        self.images, self.labels = data.train_images, data.train_labels

        network, inputs = config.network, data.train_images.shape[1]
        assert network is not None
        topology = sparse_topology(inputs, network, len(data.classes), config.seed)
        self.W = sparse_weight_matrix(topology.links, own.genes, network.beta, config.seed, own.expression)
        self.topology = topology
        self.population, self.tested = (
            Population(topology, self.W, _seen(images), compute.device, compute.dtype, network.cap)
            for images in (data.train_images, data.test_images)
        )

        self.generation = 0
        self.p = initial_frequencies(own.genes, config.seed).to(compute.device)
        self.history = {0: self.p}
        self.predicted = self.first_delta = 0.0
        self.temperature = own.temperature or self.spread_of_logits()

    def step(self) -> Metrics:
        """One generation."""
        images, labels = self.minibatch()
        delta = self.rewards(images, labels)
        fitness = TRANSFORMS[self.config.fitness](delta)
        means = allele_means(map(self.genotypes, self.tiles()), fitness)
        selected = weak_selection(self.p, means.f, means.f_bar, self.epsilon)
        before, self.p = self.p, torch.where(means.polymorphic, selected, self.p)
        self.generation += 1
        if is_milestone(self.generation):
            self.history[self.generation] = self.p
        return self.metrics(delta) | self.response(before, means, delta, fitness)

    def minibatch(self) -> tuple[Tensor, Tensor]:
        """The images of this generation, the same for every individual."""
        if self.config.batch is None:
            return self.images, self.labels
        everyone = torch.randperm(len(self.labels), generator=generator(self.seed, "minibatch", self.generation))
        chosen = everyone[: self.config.batch].to(self.device)
        return self.images[chosen], self.labels[chosen]

    def genotypes(self, individuals: range) -> Tensor:
        """Some individuals of this generation, ``x: [len(individuals), n]``."""
        return draw(self.p, self.seed, self.generation, individuals)

    def tiles(self) -> Iterator[range]:
        """The population in fixed blocks of individuals."""
        return self.population.tiles(self.config.population)

    def rewards(self, images: Tensor, labels: Tensor) -> Tensor:
        """``delta_x`` of every individual, ``[N]`` float64 (Sec. 3.1)."""
        total = torch.zeros(self.config.population, dtype=torch.float64, device=self.device)
        for who, which, logits in self.population.evaluate(self.genotypes, len(total), images):
            part = reward(logits, labels[which], self.temperature)
            total[who.start : who.stop] += part.sum(dim=1, dtype=torch.float64)
        return total / len(labels)

    def spread_of_logits(self) -> float:
        """Standard deviation over classes, for some individuals on a sample of the training images.

        Divided by it, logits are of order 1 whatever the number of genes, and few images lie beyond the clip at
        ``alpha^2``, where a class that nobody gets right yet would pay nothing for getting less wrong.
        """
        some = self.images[:: max(len(self.images) // 128, 1)]
        _, _, logits = next(self.population.evaluate(self.genotypes, 64, some))
        return float(logits.std(dim=1).mean()) or 1.0

    @property
    def epsilon(self) -> float:
        """Strength of selection now: weak at first; then, if so configured, geometrically to ``epsilon_final``."""
        start, final = self.config.epsilon, self.config.epsilon_final
        if final is None or self.generations is None:
            return start
        weak = self.config.weak_until
        progress = min(max((self.generation / self.generations - weak) / (1 - weak), 0.0), 1.0)
        return float(start * (final / start) ** progress)

    def metrics(self, delta: Tensor) -> Metrics:
        """What a generation says about itself."""
        return {
            "fitness/mean": float(delta.mean()),
            "fitness/sd": float(delta.std()),
            "fitness/best": float(delta.max()),
            "population/heterozygosity": heterozygosity(self.p),
            "population/fixed": fixed_fraction(self.p),
            "selection/epsilon": self.epsilon,
        }

    def response(self, before: Tensor, means: AlleleMeans, delta: Tensor, fitness: Tensor) -> Metrics:
        """What selection should have achieved so far, in units of ``delta_x``, and what it did (nne/response.py)."""
        centred = fitness - fitness.mean()
        unit = float((delta @ centred) / (centred @ centred).clamp(min=1e-30))  # of fitness, in delta_x
        if self.generation == 1:
            self.first_delta = float(delta.mean())
        realised, predicted = float(delta.mean()) - self.first_delta, self.predicted
        self.predicted += unit * float(predicted_response(before, self.p, means))
        additive = additive_variance(means)
        return {
            "selection/heritability": float(additive / means.variance.clamp(min=1e-30)),
            "selection/signal_to_noise": float(additive / noise(means).clamp(min=1e-30)),
            "response/predicted": predicted,
            "response/realised": realised,
        }

    def performance(self, images: Tensor, labels: Tensor, count: int) -> Performance:
        """How ``count`` individuals drawn from ``p``, and the networks that stand for all of them, do on images."""
        return measure(
            self.tested,
            self.p,
            lambda who: draw(self.p, self.seed, self.generation, who, stream="test"),
            count,
            images,
            labels,
            self.temperature,
        )

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Test accuracies, from a fifth of the individuals that ``summary`` draws."""
        found = self.performance(images, labels, max(2, self.config.test_individuals // 5))
        return {
            "test/individuals": found.mean,
            "test/individuals_sd": found.sd,
            "test/modal": found.modal,
            "test/mean_weights": found.mean_weights,
            "test/vote": found.vote,
        }

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """The numbers of the population; the headline is the mean over individuals."""
        found = self.performance(images, labels, self.config.test_individuals)
        return {
            "test_accuracy": found.mean,
            "generations": self.generation,
            "temperature": self.temperature,
            "fixed": fixed_fraction(self.p),
            "heterozygosity": heterozygosity(self.p),
            "individuals": {"mean": found.mean, "sd": found.sd, "count": len(found.individuals)},
            "modal": found.modal,
            "mean_weights": found.mean_weights,
            "vote": found.vote,
        }

    def reason_to_stop(self) -> str | None:
        """Fixation: when selection has nothing left to choose from."""
        enough = self.config.stop_at_fixed
        fixed = fixed_fraction(self.p)
        return f"{fixed:.1%} of the alleles are fixed" if enough is not None and fixed >= enough else None

    def histograms(self) -> dict[str, Tensor]:
        """The distribution of allele frequencies."""
        return {"population/p": self.p}

    def figures(self, images: Tensor, labels: Tensor) -> "Iterator[tuple[str, Figure]]":
        """Fig. 2, the confusion matrix of the individuals, and receptive fields of the mean network."""
        from nne import figures
        from training.figures import confusion

        found = self.performance(images, labels, max(2, self.config.test_individuals // 5))
        yield "convergence", figures.convergence({**self.history, self.generation: self.p})
        yield "confusion", confusion(found.confusion, f"Individuals after {self.generation} generations")
        yield "receptive_fields", figures.receptive_fields(self.topology, self.W, self.p, self.generation)

    def state_dict(self) -> State:
        """``p``, the generation, and ``p`` at earlier milestones. No random state: draws depend on the seed alone."""
        return {
            "p": self.p,
            "generation": torch.tensor(self.generation),
            "history_generations": torch.tensor(list(self.history)),
            "history_p": torch.stack(list(self.history.values())).float(),
            "response": torch.tensor([self.predicted, self.first_delta], dtype=torch.float64),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved generation."""
        fits = state.keys() == self.state_dict().keys() and state["p"].shape == self.p.shape
        require(fits, f"the checkpoint does not hold {len(self.p)} allele frequencies: it is from another kind of run")
        self.p = state["p"].to(self.device)
        self.generation = int(state["generation"])
        past = zip(state["history_generations"].tolist(), state["history_p"].to(self.device), strict=True)
        self.history = dict(past)
        self.predicted, self.first_delta = state["response"].tolist()


def _seen(images: Tensor) -> Tensor:
    """``[inputs]``: the pixels that are not zero in every image."""
    return images.amax(dim=0) > 0
