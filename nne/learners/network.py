"""Neural net evolution, the learner: one generation is draw, express, evaluate, select (Sec. 2 and 3.1)."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from nne.evolution import Evolution
from nne.fitness import exact_sum, reward, root, round_for_exact_sum, share_of_class
from nne.genome import draw, fixed_fraction, heterozygosity, initial_frequencies
from nne.learners.config import EvolutionConfig
from nne.learners.metrics import Performance, measure
from nne.population.base import SparseNetworks
from nne.population.factory import patterns, populations, with_backend
from nne.population.filters import Patterns, part_of
from nne.population.modules import FilterModules
from nne.replay import Replay
from nne.selection import Execution
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.data.jitter import jittered
from nne.training.device import Compute, total_memory
from nne.training.errors import require
from nne.training.learner import Learner, Metrics, State, is_milestone, is_sampled
from nne.training.models.plain import linear
from nne.training.seeding import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALIBRATE = 1000  # training images over which the logits of a network that is tested are centred, if they are
MEMORY_SHARE = 1 / 2  # of the device's memory, for what modules of a generation do
LOCI = 50  # genes whose frequencies are followed closely; genes are alike, so the first will do


class NetworkEvolution(Learner):
    """Evolves networks because some genotypes classify better than others."""

    step_name = "generation"
    headline = "test/individuals"
    module_figure = "test/modal"
    result = "test_accuracy"
    charts: ClassVar[dict[str, list[str]]] = {
        "accuracy on the test set": ["test/individuals", "test/modal", "test/mean_weights", "test/vote"],
        "genetic variation": ["population/heterozygosity", "population/fixed"],
        "fitness": ["fitness/mean", "fitness/best"],
        "response to selection": ["response/realised", "response/predicted"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        learner_config: EvolutionConfig = config.learner
        self.learner_config = learner_config
        self.seed = config.seed
        self.generations = config.trainer.max_steps
        self.compute = compute = with_backend(config, compute)
        self.device = compute.device
        self.images = data.train_images
        self.labels = data.train_labels

        self.population, self.tested = populations(config, data, compute)
        network, credit = config.network, learner_config.credit
        self.painted = painted = patterns(config, len(data.classes)) if network and network.filters else None
        self.modules: FilterModules | None = None
        if network and painted and credit == "module":
            mean = self.images.mean(dim=0)
            self.modules = FilterModules(painted, network, mean, learner_config.centre_logits)
            needed = self.modules.needs(learner_config.population, learner_config.batch or 0) / 2**30
            most = MEMORY_SHARE * total_memory(compute.device) / 2**30
            few = f"learner.population={learner_config.population} on learner.batch={learner_config.batch} images"
            fits = needed <= most
            require(fits, f"learner.credit=module keeps {needed:.0f} GiB for {few}; at most {most:.0f} can be had here")
        self.evolution = Evolution(
            learner_config.genes,
            learner_config.population,
            selection=learner_config.selection,
            fitness=learner_config.fitness,
            freeze=learner_config.freeze,
            p0=first_frequencies(config, painted),
            part=part_of(painted, credit) if painted and credit != "total" else None,
            seed=config.seed,
            device=compute.device,
            execution=Execution(
                tile=self.population.tiling.genotypes,
                backend="cpp" if compute.backend == "cpp" else "torch",
                workers=compute.workers,
                block=self.population.block,
            ),
        )
        self.jitter = config.images.jitter
        self.centre_by = self.images[:: max(len(self.images) // CALIBRATE, 1)] if learner_config.centre_logits else None
        self.genes_expressed = learner_config.genes
        self.fixed = torch.empty(0), 0.0  # of which p, and the share of its alleles
        self.measured: tuple[Tensor, Tensor, Performance] | None = None  # of which p, on which images
        self.history = {0: self.evolution.p}
        self.trajectories = {0: self.evolution.p[:LOCI]}
        self.temperature = learner_config.temperature or self.spread_of_logits()
        at_once = self.population.static and len(self.images) <= self.population.tiling.gathered
        plain = not (self.jitter or learner_config.centre_logits or learner_config.mutation)
        whole = self.evolution.replays and at_once and plain
        self.replay = Replay(self.evolution, self.rewards_of_all, self.chosen, self.epsilon) if whole else None

    @property
    def generation(self) -> int:
        """How many have lived."""
        return self.evolution.generation

    def step(self) -> Metrics:
        """One generation."""
        if self.replay:
            metrics = self.replay.step()
        else:
            mutation = self.mutation(self.generation) if self.learner_config.mutation else None
            metrics = self.evolution.tell(self.rewards(*self.minibatch()), self.epsilon(self.generation), mutation)
        self.fixed = self.evolution.p, metrics["population/fixed"]
        self.fold()
        if is_milestone(self.generation):
            self.history[self.generation] = self.evolution.p
        if is_sampled(self.generation, digits=2):
            self.trajectories[self.generation] = self.evolution.p[:LOCI]
        return metrics

    def minibatch(self) -> tuple[Tensor, Tensor]:
        """The images of this generation, the same for every individual."""
        images, labels = self.images, self.labels
        if self.learner_config.batch is not None:
            chosen = self.chosen(self.generation).to(self.device)
            images, labels = images[chosen], labels[chosen]
        return jittered(images, self.jitter, generator(self.seed, "jitter", self.generation)), labels

    def chosen(self, generation: int) -> Tensor:
        """The places of a generation's images, ``[batch]`` int64; of none, if it sees all."""
        if self.learner_config.batch is None:
            return torch.empty(0, dtype=torch.int64)
        everyone = torch.randperm(len(self.labels), generator=generator(self.seed, "minibatch", generation))
        return everyone[: self.learner_config.batch]

    def genotypes(self, individuals: range) -> Tensor:
        """Some individuals of this generation: their free genes and, once some are frozen, a 1 for all of those."""
        x = self.evolution.ask_free(individuals)
        return x if self.genes_expressed == len(self.evolution.p) else torch.cat([x, x.new_ones(len(x), 1)], dim=1)

    def fold(self) -> None:
        """Have the population forget the genes that were frozen since."""
        if self.genes_expressed != len(self.evolution.free):
            self.population.fold(self.evolution.p, self.evolution.free)
            self.genes_expressed = len(self.evolution.free)

    def rewards(self, images: Tensor, labels: Tensor) -> Tensor:
        """``delta_x`` of every individual, ``[N]`` float64 (Sec. 3.1); by parts ``[K, N]``, the total first."""
        if self.modules:
            return self.modules.rewards(
                self.evolution.ask_free(range(self.evolution.N)), images, labels, self.temperature
            )
        if self.evolution.parts is not None or self.learner_config.centre_logits:
            return self.rewards_by_class(images, labels)
        return self.rewards_of(self.genotypes, self.learner_config.population, images, labels)

    def rewards_of_all(self, x: Tensor, chosen: Tensor) -> Tensor:
        """The same of genotypes ``x: [N, n]`` at once, on the images that are ``chosen``."""
        images, labels = (self.images[chosen], self.labels[chosen]) if len(chosen) else (self.images, self.labels)
        return self.population.rewards(x, self.population.gather(images), labels, self.temperature) / len(labels)

    def rewards_of(
        self, genotypes: Callable[[range], Tensor], individuals: int, images: Tensor, labels: Tensor
    ) -> Tensor:
        """The same of any individuals."""
        total = torch.zeros(individuals, dtype=torch.float64, device=self.device)
        shard = self.compute.workers.shard(individuals, self.population.block)

        def rewards(x: Tensor, seen: Any, which: slice) -> Tensor:
            return self.population.rewards(x, seen, labels[which], self.temperature)

        for tile, _, part in self.population.evaluate(genotypes, shard, images, rewards):
            total[tile.start : tile.stop] += part
        return self.compute.workers.all_reduce(total) / len(labels)

    def rewards_by_class(self, images: Tensor, labels: Tensor) -> Tensor:
        """The same from the logits of all individuals at once."""
        N = self.learner_config.population
        logits = torch.empty(N, self.population.classes, len(images), device=self.device)
        for who, which, part in self.population.evaluate(self.genotypes, range(N), images):
            logits[who.start : who.stop, :, which] = part
        if self.learner_config.centre_logits:
            logits = logits - logits.mean(dim=2, keepdim=True)
        total = reward(logits, labels, self.temperature).mean(dim=1, dtype=torch.float64)
        if self.evolution.parts is None:
            return total
        return torch.cat([total[None], share_of_class(logits / self.temperature, labels)])

    def mutation(self, generation: int) -> float:
        """The rate of mutation: it falls linearly to 0 where selection begins to be strong."""
        progress = generation / ((self.generations or 1) * (self.learner_config.weak_until or 1))
        return self.learner_config.mutation * max(1 - progress, 0.0)

    def spread_of_logits(self) -> float:
        """Standard deviation over classes, for some individuals on a sample of the training images.

        Divided by it, logits are of order 1 whatever the number of genes, and few images lie beyond the clip at
        ``alpha^2``, where a class that nobody gets right yet would pay nothing for getting less wrong.
        """
        some = self.images[:: max(len(self.images) // 128, 1)]
        _, _, logits = next(self.population.evaluate(self.genotypes, range(64), some))
        if self.learner_config.centre_logits:
            logits = logits - logits.mean(dim=2, keepdim=True)
        classes = logits.movedim(1, -1).reshape(-1, self.population.classes).double()
        centred = classes - round_for_exact_sum(classes).mean(dim=1, keepdim=True)
        variance = round_for_exact_sum(centred.square()).sum(dim=1) / (self.population.classes - 1)
        spread = float(exact_sum(root(variance))) / len(classes) or 1.0
        return spread * self.learner_config.relative_temperature

    def epsilon(self, generation: int) -> float:
        """Strength of selection: weak at first; then, if so configured, geometrically to ``epsilon_final``."""
        start, final = self.learner_config.epsilon, self.learner_config.epsilon_final
        if final is None or self.generations is None:
            return start
        weak = self.learner_config.weak_until
        progress = min(max((generation / self.generations - weak) / (1 - weak), 0.0), 1.0)
        return float(start * (final / start) ** progress)

    def performance(self, images: Tensor, labels: Tensor, count: int | None = None) -> Performance:
        """How ``count`` individuals drawn from ``p``, and the networks that stand for all of them, do on images.

        Without ``count``, of as many as were just drawn for these images, or else as ``evaluate`` draws.
        """
        p, measured = self.evolution.p, self.measured
        if measured and measured[0] is p and measured[1] is images and count in (None, len(measured[2].individuals)):
            return measured[2]
        result = measure(
            self.tested,
            p,
            lambda individuals: draw(p, self.seed, self.generation, individuals, stream="test"),
            count or self.few,
            images,
            labels,
            self.temperature,
            self.centre_by,
        )
        self.measured = p, images, result
        return result

    @property
    def few(self) -> int:
        """Individuals that are tested while it evolves: a fifth of those at the end."""
        return max(2, self.learner_config.test_individuals // 5)

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Test accuracies of a few individuals, and of the networks that stand for all of them."""
        performance = self.performance(images, labels, self.few)
        return {
            "test/individuals": performance.mean,
            "test/individuals_sd": performance.sd,
            "test/modal": performance.modal,
            "test/mean_weights": performance.mean_weights,
            "test/vote": performance.vote,
        }

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """The numbers of the population; the headline is the mean over individuals."""
        performance = self.performance(images, labels, self.learner_config.test_individuals)
        return {
            "test_accuracy": performance.mean,
            "generations": self.generation,
            "temperature": self.temperature,
            "fixed": float(fixed_fraction(self.evolution.p)),
            "heterozygosity": float(heterozygosity(self.evolution.p)),
            "individuals": {"mean": performance.mean, "sd": performance.sd, "count": len(performance.individuals)},
            "modal": performance.modal,
            "mean_weights": performance.mean_weights,
            "vote": performance.vote,
        }

    def last_point(self, images: Tensor, labels: Tensor, measured: dict[str, Any]) -> Metrics:
        """All of the summary, which is of more individuals than ``evaluate`` draws."""
        individuals = measured["individuals"]
        of_individuals = {"test/individuals": individuals["mean"], "test/individuals_sd": individuals["sd"]}
        return of_individuals | {f"test/{name}": measured[name] for name in ("modal", "mean_weights", "vote")}

    def confusion(self, images: Tensor, labels: Tensor) -> Tensor:
        """Averaged over individuals."""
        return self.performance(images, labels).confusion

    def as_module(self) -> nn.Module:
        """Of the commonest genotype."""
        module = self.tested.as_module((self.evolution.p > 0.5).to(self.evolution.p.dtype))
        if self.centre_by is None:
            return module
        with torch.no_grad():
            mean = module(self.centre_by.float().cpu()).mean(dim=0)
        *below, outputs = module.children()
        assert isinstance(outputs, nn.Linear)
        return nn.Sequential(*below, linear(outputs.weight, -mean))

    def reason_to_stop(self) -> str | None:
        """Fixation: when selection has nothing left to choose from."""
        enough = self.learner_config.stop_at_fixed
        if self.fixed[0] is not self.evolution.p:
            self.fixed = self.evolution.p, float(fixed_fraction(self.evolution.p))
        fixed = self.fixed[1]
        return f"{fixed:.1%} of the alleles are fixed" if enough is not None and fixed >= enough else None

    def histograms(self) -> dict[str, Tensor]:
        """The distribution of allele frequencies."""
        return {"population/p": self.evolution.p}

    def figures(self, images: Tensor, labels: Tensor) -> "Iterator[tuple[str, Figure]]":
        """Fig. 2, trajectories of alleles, the individuals' confusion matrix, receptive fields of the mean network."""
        from nne.analysis import figures
        from nne.training.logging.figures import confusion

        yield "convergence", figures.convergence({**self.history, self.generation: self.evolution.p})
        yield "trajectories", figures.trajectories({**self.trajectories, self.generation: self.evolution.p[:LOCI]})
        counts = self.confusion(images, labels)
        yield "confusion", confusion(counts, f"Individuals after {self.generation} generations")
        square = int(images.shape[1] ** 0.5) ** 2 == images.shape[1]
        if self.painted and self.painted.fields.shape[1] == 1:
            first, now = self.history[0], self.evolution.p
            yield "filters", figures.filters(self.painted, first, now, self.generation)
        elif isinstance(self.tested, SparseNetworks) and square:
            topology, W = self.tested.topology, self.tested.whole
            yield "receptive_fields", figures.receptive_fields(topology, W, self.evolution.p, self.generation)

    def state_dict(self) -> State:
        """The evolution's, ``p`` at earlier milestones, and what became of a few alleles meanwhile."""
        return {
            **self.evolution.state_dict(),
            "history_generations": torch.tensor(list(self.history)),
            "history_p": torch.stack(list(self.history.values())).float(),
            "trajectory_generations": torch.tensor(list(self.trajectories)),
            "trajectory_p": torch.stack(list(self.trajectories.values())).float(),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved generation."""
        self.evolution.load_state_dict(state)
        self.fold()
        self.history, self.trajectories = (
            dict(zip(state[f"{name}_generations"].tolist(), state[f"{name}_p"].to(self.device), strict=True))
            for name in ("history", "trajectory")
        )


def first_frequencies(config: Config, painted: Patterns | None) -> Tensor | None:
    """``p`` at first, uniform within ``p0`` of 1/2 (0 or 1 of frozen filters); None: as in Sec. 3.1."""
    learner_config: EvolutionConfig = config.learner
    frozen = painted and config.network and config.network.frozen
    if learner_config.p0 == 0.5 and not frozen:
        return None
    p = 0.5 + 2 * learner_config.p0 * (initial_frequencies(learner_config.genes, config.seed) - 0.5)
    if painted and frozen:
        p[: painted.hidden] = draw(p[: painted.hidden], config.seed, 0, range(1), stream="frozen")[0].double()
    return p
