"""What a population lives in: the images that a generation meets, and the fitness that its individuals have on them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nne.fitness import centred, exact_sum, reward, root, round_for_exact_sum, share_of_class
from nne.learners.config import EvolutionConfig
from nne.population.base import Networks
from nne.population.filters import Patterns
from nne.population.modules import FilterModules
from nne.population.weights import chosen_expression
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.data.jitter import jittered
from nne.training.device import Compute, send, total_memory
from nne.training.errors import require
from nne.training.seeding import generator

MEMORY_SHARE = 1 / 2  # of the device's memory, for what modules of a generation do
SOME = 64, 128  # individuals and training images whose logits say what the temperature is, if nothing else does

Genotypes = Callable[[range], Tensor]
"""Gives ``x: [len(individuals), n]`` bool of a range of individuals."""


class Environment:
    """Images, and what individuals are paid for on them.

    Args:
        config: of the run.
        data: training images.
        compute: where, and by how many workers.
        population: what evaluates genotypes.
        painted: what genes paint, of a network of filters.
        genotypes: of the individuals that live now.

    Attributes:
        temperature: logits are divided by this.

    Raises:
        UserError: modules need more memory than there is.
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        compute: Compute,
        population: Networks,
        painted: Patterns | None,
        genotypes: Genotypes,
    ) -> None:
        learner_config: EvolutionConfig = config.learner
        self.seed = config.seed
        self.images = data.train_images
        self.labels = data.train_labels
        self.batch = learner_config.batch
        self.jitter = config.images.jitter
        self.N = learner_config.population
        self.groups = learner_config.groups
        self.centre = learner_config.centre_logits
        self.credit = learner_config.credit
        self.compute = compute
        self.population = population
        self.genotypes = genotypes
        if self.credit == "module":
            assert config.network
            assert painted
            mean, g = self.images.mean(dim=0), chosen_expression(learner_config.expression)
            self.modules = FilterModules(painted, config.network, mean, self.centre, g)
            needed = self.modules.needs(self.N // self.groups, self.batch or 0) / 2**30
            most = MEMORY_SHARE * total_memory(compute.device) / 2**30
            few = f"learner.population={self.N} in learner.groups={self.groups} on learner.batch={self.batch} images"
            fits = needed <= most
            have = f"at most {most:.1f} can be had here: choose fewer"
            require(fits, f"learner.credit=module keeps {needed:.1f} GiB for {few}; {have}")
        together, what = self.groups * (self.batch or 1), "learner.groups x " * (self.groups > 1) + "learner.batch"
        enough = together <= len(self.labels)
        require(enough, f"{what} must be at most {len(self.labels)}, the training images, got {together}")
        self.temperature = learner_config.temperature or learner_config.relative_temperature * self.spread_of_logits()

    @property
    def whole(self) -> bool:
        """Whether a generation is one tile on images as they are, by the total alone (``rewards_of_all``)."""
        one_tile = self.population.static and (self.batch or len(self.images)) <= self.population.tiling.gathered
        return one_tile and self.credit == "total" and self.groups == 1 and not (self.jitter or self.centre)

    def minibatch(self, generation: int) -> tuple[Tensor, Tensor]:
        """The images of a generation, group by group, ``[B, inputs]``, and their labels ``[B]``."""
        images, labels = self.images, self.labels
        if self.batch is not None:
            chosen = send(self.chosen(generation), images.device)
            images, labels = images[chosen], labels[chosen]
        return jittered(images, self.jitter, generator(self.seed, "jitter", generation)), labels

    def chosen(self, generation: int) -> Tensor:
        """The places of a generation's images, ``[groups * batch]`` int64; of none, if it sees all."""
        if self.batch is None:
            return torch.empty(0, dtype=torch.int64)
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "minibatch", generation))
        return order[: self.groups * self.batch]

    def rewards(self, images: Tensor, labels: Tensor) -> Tensor:
        """``delta_x`` of every individual, ``[N]`` float64 (Sec. 3.1); by parts ``[K, N]``, the total first.

        Of several groups, each on its own images, and with an average body of its own; their mean fitness is made the
        same.
        """
        each = self.N // self.groups
        groups = zip(
            (range(first, first + each) for first in range(0, self.N, each)),
            images.tensor_split(self.groups),
            labels.tensor_split(self.groups),
            strict=True,
        )
        found = [self.rewards_on(*group) for group in groups]
        if self.groups == 1:
            return found[0]
        by_group = torch.stack(found, dim=-2)  # [..., groups, N / groups]
        means = exact_sum(by_group)[..., None] / each
        compared = by_group - means + exact_sum(means[..., 0])[..., None, None] / self.groups
        return compared.flatten(-2)

    def rewards_on(self, group: range, images: Tensor, labels: Tensor) -> Tensor:
        """The same of some individuals on their images."""

        def genotypes(individuals: range) -> Tensor:
            return self.genotypes(range(group.start + individuals.start, group.start + individuals.stop))

        if self.credit == "module":
            found = self.modules.rewards(self.genotypes(group), images, labels, self.temperature)
            first = self.compute.workers.rank == 0  # an average body needs everybody, so all workers judge all
            return self.compute.workers.all_reduce(found if first else torch.zeros_like(found))
        if self.credit == "class" or self.centre:
            return self.rewards_by_class(genotypes, len(group), images, labels)
        return self.rewards_of(genotypes, len(group), images, labels)

    def rewards_of_all(self, x: Tensor, chosen: Tensor) -> Tensor:
        """The same of genotypes ``x: [N, n]`` at once, on the images that are ``chosen``."""
        images, labels = (self.images[chosen], self.labels[chosen]) if len(chosen) else (self.images, self.labels)
        return self.population.rewards(x, self.population.gather(images), labels, self.temperature) / len(labels)

    def rewards_of(self, genotypes: Genotypes, individuals: int, images: Tensor, labels: Tensor) -> Tensor:
        """The same of any individuals."""
        total = torch.zeros(individuals, dtype=torch.float64, device=images.device)
        shard = self.compute.workers.shard(individuals, self.population.block)

        def rewards(x: Tensor, seen: Any, which: slice) -> Tensor:
            return self.population.rewards(x, seen, labels[which], self.temperature)

        for tile, _, part in self.population.evaluate(genotypes, shard, images, rewards):
            total[tile.start : tile.stop] += part
        return self.compute.workers.all_reduce(total) / len(labels)

    def rewards_by_class(self, genotypes: Genotypes, individuals: int, images: Tensor, labels: Tensor) -> Tensor:
        """The same from the logits of all of them at once: a class is judged in a body whose others are average."""
        workers, population = self.compute.workers, self.population
        logits = torch.zeros(individuals, population.classes, len(images), device=images.device)
        for who, which, part in population.evaluate(genotypes, workers.shard(individuals, population.block), images):
            logits[who.start : who.stop, :, which] = part
        logits = workers.all_reduce(logits)
        logits = centred(logits) if self.centre else logits
        total = reward(logits, labels, self.temperature).mean(dim=1, dtype=torch.float64)
        if self.credit == "total":
            return total
        return torch.cat([total[None], share_of_class(logits / self.temperature, labels)])

    def spread_of_logits(self) -> float:
        """Standard deviation over classes, for some individuals on a sample of the training images.

        Divided by it, logits are of order 1 whatever the number of genes, and few images lie beyond the clip at
        ``alpha^2``, where a class that nobody gets right yet would pay nothing for getting less wrong.
        """
        individuals, count = SOME
        some = self.images[:: max(len(self.images) // count, 1)]
        _, _, logits = next(self.population.evaluate(self.genotypes, range(individuals), some))
        logits = centred(logits) if self.centre else logits
        classes = logits.movedim(1, -1).reshape(-1, self.population.classes).double()
        from_mean = classes - round_for_exact_sum(classes).mean(dim=1, keepdim=True)
        variance = round_for_exact_sum(from_mean.square()).sum(dim=1) / (self.population.classes - 1)
        return float(exact_sum(root(variance))) / len(classes) or 1.0
