"""Neural net evolution, the learner: one generation is draw, express, evaluate, select (Sec. 2 and 3.1)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from nne.evolution import Evolution
from nne.genome import draw, fixed_fraction, heterozygosity, initial_frequencies
from nne.learners.config import EvolutionConfig
from nne.learners.environment import Environment
from nne.learners.metrics import Performance, centred_by, measure
from nne.population.base import SparseNetworks
from nne.population.factory import hidden_genes, parts, patterns, populations, with_backend
from nne.replay import Replay
from nne.selection import Execution
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.learner import Learner, Metrics, State, is_milestone, is_sampled
from nne.training.models.plain import linear

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOCI = 50  # genes whose frequencies are followed closely; genes are alike, so the first will do


class NetworkEvolution(Learner):
    """Evolves networks because some genotypes classify better than others."""

    step_name = "generation"
    headline = "test/individuals"
    module_figure = "test/modal"
    result = "test_accuracy"
    environment_type: ClassVar[type[Environment]] = Environment
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
        compute = with_backend(config, compute)
        self.population, self.tested = populations(config, data, compute)
        self.compute = compute = replace(compute, backend=self.population.backend)
        self.device = compute.device
        network = config.network
        self.painted = painted = patterns(config, len(data.classes)) if network and network.filters else None
        hidden = hidden_genes(config, painted, len(data.classes))
        self.frozen = hidden if network and network.frozen else 0  # genes, the first, that stay as they were drawn
        self.evolution = Evolution(
            learner_config.genes,
            learner_config.population,
            selection=learner_config.selection,
            fitness=learner_config.fitness,
            freeze=learner_config.freeze,
            p0=first_frequencies(config, hidden),
            part=parts(config, painted, len(data.classes)),
            seed=config.seed,
            device=compute.device,
            execution=Execution(
                tile=self.population.tiling.genotypes,
                workers=compute.workers,
                block=self.population.block,
            ),
        )
        self.genes_expressed = learner_config.genes
        self.environment = self.environment_type(config, data, compute, self.population, painted, self.genotypes)
        self.centre_by = centred_by(learner_config, data.train_images)
        self.fixed = torch.empty(0), 0.0  # of which p, and the share of the alleles that can evolve
        self.measured: tuple[Tensor, Tensor, Performance] | None = None  # of which p, on which images
        self.history = {0: self.evolution.p}
        self.trajectories = {0: self.evolution.p[:LOCI].clone()}
        whole = self.evolution.replays and self.environment.whole and not learner_config.mutation
        told = self.environment.rewards_of_all, self.environment.chosen
        self.replay = Replay(self.evolution, *told, self.epsilon) if whole else None

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
            images, labels = self.environment.minibatch(self.generation)
            rewards = self.environment.rewards(images, labels)
            metrics = self.evolution.tell(rewards, self.epsilon(self.generation), mutation)
        self.fixed = self.evolution.p, self.fixed_of_evolving(metrics["population/fixed"])
        self.fold()
        if is_milestone(self.generation):
            self.history[self.generation] = self.evolution.p
        if is_sampled(self.generation, digits=2):
            self.trajectories[self.generation] = self.evolution.p[:LOCI].clone()
        return metrics

    def genotypes(self, individuals: range) -> Tensor:
        """Some individuals of this generation, by all genes, or by the free ones and a 1 for all that are frozen."""
        x, p, free = self.evolution.ask_free(individuals), self.evolution.p, self.evolution.free
        if len(free) == len(p):
            return x
        if self.genes_expressed == len(p):
            return (p > 0.5).repeat(len(x), 1).index_copy(1, free, x)
        return torch.cat([x, x.new_ones(len(x), 1)], dim=1)

    def fold(self, anew: bool = False) -> None:
        """Have the population, if it is what evaluates them, know the genes that are not frozen.

        They only ever become fewer, unless a state was loaded (``anew``).
        """
        p, free = self.evolution.p, self.evolution.free
        if self.learner_config.credit == "module" or (self.genes_expressed == len(free) and not anew):
            return
        if len(free) == len(p):
            self.population.use(self.population.rows)
        else:
            self.population.fold(p, free)
        self.genes_expressed = len(free)

    def mutation(self, generation: int) -> float:
        """The rate of mutation: it falls linearly to 0 where selection begins to be strong."""
        progress = generation / ((self.generations or 1) * (self.learner_config.weak_until or 1))
        return self.learner_config.mutation * max(1 - progress, 0.0)

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
            self.environment.temperature,
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
            "temperature": self.environment.temperature,
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
        if enough is None:
            return None
        if self.fixed[0] is not self.evolution.p:
            self.fixed = self.evolution.p, self.fixed_of_evolving(float(fixed_fraction(self.evolution.p)))
        fixed = self.fixed[1]
        return f"{fixed:.1%} of the alleles are fixed" if fixed >= enough else None

    def fixed_of_evolving(self, fixed: float) -> float:
        """The share of the alleles that can evolve that are fixed, given that of all."""
        n = len(self.evolution.p)
        return (round(fixed * n) - self.frozen) / (n - self.frozen)

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
        if self.painted and self.painted.fields[0].shape[1] == 1:
            assert isinstance(self.tested, SparseNetworks)
            first, now, g = self.history[0], self.evolution.p, self.tested.whole.g
            yield "filters", figures.filters(self.painted, first, now, self.generation, g)
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
        self.fold(anew=True)
        self.history, self.trajectories = (
            dict(zip(state[f"{name}_generations"].tolist(), state[f"{name}_p"].to(self.device), strict=True))
            for name in ("history", "trajectory")
        )


def first_frequencies(config: Config, hidden: int) -> Tensor | None:
    """``p`` at first, uniform within ``p0`` of 1/2; None: as in Sec. 3.1.

    Of hidden layers that are frozen, whose genes are the first ``hidden``: 0 or 1.
    """
    learner_config: EvolutionConfig = config.learner
    frozen = config.network is not None and config.network.frozen
    if learner_config.p0 == 0.5 and not frozen:
        return None
    p = 0.5 + 2 * learner_config.p0 * (initial_frequencies(learner_config.genes, config.seed) - 0.5)
    if frozen:
        p[:hidden] = draw(p[:hidden], config.seed, 0, range(1), stream="frozen")[0].double()
    return p
