"""Evolution strategies on the network of filters beside evolution of alleles, with the same images and jitter.

Each has ``BUDGET`` evaluations, networks times images, of 100 images a step; accuracy is that of the mean, the best
that a strategy gives. Step size, perturbation and population of each are TUNED over 1, 3, 10, 30 ... by the accuracy
*on the test set* after an eighth of the budget, which can only flatter it.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import Setting, best_setting, mean_loss
from benchmarks.race import show
from nne.learners.network import NetworkEvolution
from nne.registry import composed
from nne.training.data.datasets import Dataset
from nne.training.data.jitter import jittered
from nne.training.device import Compute
from nne.training.logging.progress import console
from nne.training.models.filters import FilterNetwork
from nne.training.parts import NetworkConfig
from nne.training.seeding import generator, key

EXPERIMENT = "experiment=nne_filters_mnist10"
BUDGET = 1500 * 64 * 100
BATCH = 100
MARKS = 8, 4, 2, 1  # accuracy after the budget divided by these
SEEDS = 0, 1, 2
AT_ONCE = 32  # networks


@dataclass(frozen=True)
class Shapes:
    """Parameters in a row: kernels ``[r^2, F]``, biases ``[F]``, output weights ``[C, units]`` and biases ``[C]``."""

    sizes: tuple[torch.Size, ...]

    def split(self, flat: Tensor) -> list[Tensor]:
        """Rows ``[N, parameters]`` as ``[N, ...]`` each."""
        parts = torch.split(flat, [size.numel() for size in self.sizes], dim=1)
        return [part.view(-1, *size) for part, size in zip(parts, self.sizes, strict=True)]


class Strategy(ABC):
    """A distribution over networks, whose mean moves by steps of ``population`` networks."""

    def __init__(self, data: Dataset, network: NetworkConfig, setting: Setting, seed: int) -> None:
        begin = FilterNetwork(data.train_images.mean(dim=0), network, len(data.classes), seed)
        weights = begin.kernels[0][0], begin.biases[0][0, 0], begin.outputs.weight, begin.outputs.bias
        self.shapes = Shapes(tuple(w.shape for w in weights))
        self.mean = torch.cat([w.detach().flatten() for w in weights])
        self.seen, self.centre = begin.seen[0], begin.mean
        self.data, self.setting, self.seed, self.steps = data, setting, seed, 0

    def step(self) -> None:
        """Try, and move."""
        stream = generator(self.seed, "minibatch", self.steps)
        chosen = torch.randperm(len(self.data.train_labels), generator=stream)[:BATCH]
        images = jittered(self.data.train_images[chosen], 1.0, generator(self.seed, "jitter", self.steps))
        self.move((images - self.centre)[:, self.seen], self.data.train_labels[chosen])
        self.steps += 1

    @abstractmethod
    def move(self, pixels: Tensor, labels: Tensor) -> None:
        """One step on what the fields see of images, ``[B, places, r^2]``."""

    def losses(self, flat: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of networks in rows, ``[N]``."""
        return torch.cat([mean_loss(self.logits(some, pixels), labels) for some in torch.split(flat, AT_ONCE)])

    def logits(self, flat: Tensor, pixels: Tensor) -> Tensor:
        """``[N, B, C]``."""
        kernels, biases, outputs, output_biases = self.shapes.split(flat)
        images, places, size = pixels.shape
        every = kernels.permute(1, 0, 2).reshape(size, -1)  # [r^2, N F]
        maps = torch.addmm(biases.flatten(), pixels.reshape(-1, size), every).relu_()
        units = maps.view(images, places, len(flat), -1).permute(2, 0, 3, 1).flatten(2)  # [N, B, units]
        return torch.baddbmm(output_biases[:, None], units, outputs.transpose(1, 2))

    def accuracy(self) -> float:
        """Of the mean, on the test images."""
        right = 0
        for some in torch.split(torch.arange(len(self.data.test_labels)), 1000):
            pixels = (self.data.test_images[some] - self.centre)[:, self.seen]
            answers = self.logits(self.mean[None], pixels)[0].argmax(dim=1)
            right += int((answers == self.data.test_labels[some]).sum())
        return right / len(self.data.test_labels)


class RankOne(Strategy):
    """Perturbations ``sigma a b^T`` of each matrix in pairs of opposite sign, and Adam (after Sarkar et al. 2025)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.optimiser = torch.optim.Adam([self.mean], lr=self.setting.step_size)

    def move(self, pixels: Tensor, labels: Tensor) -> None:
        """Along the mean of the perturbations, weighted by how badly they did."""
        stream, half = generator(self.seed, "perturbations", self.steps), self.setting.population // 2
        noise = []
        for size in self.shapes.sizes:
            a, b = torch.randn(half, size[0], generator=stream), torch.randn(half, size[-1], generator=stream)
            noise.append(a if len(size) == 1 else (a[:, :, None] * b[:, None]).flatten(1))
        drawn = torch.cat(noise, dim=1)
        drawn = torch.cat([drawn, -drawn])
        losses = self.losses(self.mean + self.setting.sigma * drawn, pixels, labels)
        badness = (losses - losses.mean()) / losses.std()
        self.mean.grad = badness @ drawn / len(drawn)
        self.optimiser.step()


class OpenES(Strategy):
    """``Open_ES`` of evosax: isotropic perturbations in pairs, centred ranks, Adam."""

    def __init__(self, *arguments: Any) -> None:
        import jax
        import optax
        from evosax.algorithms import Open_ES

        super().__init__(*arguments)
        begin = jax.numpy.asarray(self.mean.numpy())
        adam, sigma = optax.adam(self.setting.step_size), optax.constant_schedule(self.setting.sigma)
        self.strategy = Open_ES(self.setting.population, begin, optimizer=adam, std_schedule=sigma)
        self.state = self.strategy.init(jax.random.key(self.seed), begin, self.strategy.default_params)
        self.key, self.jax = jax.random.key(key(self.seed, "perturbations", 0) % 2**31), jax

    def move(self, pixels: Tensor, labels: Tensor) -> None:
        """Ask, evaluate, tell."""
        self.key, ask, tell = self.jax.random.split(self.key, 3)
        tried, state = self.strategy.ask(ask, self.state, self.strategy.default_params)
        losses = self.losses(torch.tensor(self.jax.device_get(tried)), pixels, labels)
        told = self.jax.numpy.asarray(losses.numpy())
        self.state = self.strategy.tell(tell, tried, told, state, self.strategy.default_params)[0]
        self.mean = torch.tensor(self.jax.device_get(self.state.mean))


class PGPE(Strategy):
    """``PGPE`` of EvoTorch: a standard deviation for each weight, centred ranks, Adam."""

    def __init__(self, *arguments: Any) -> None:
        from evotorch import Problem, algorithms
        from evotorch.tools import set_default_logger_config

        set_default_logger_config(logger_level=logging.WARNING, override=True)
        super().__init__(*arguments)
        self.given: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
        problem = Problem(
            "min",
            lambda tried: self.losses(tried.as_subclass(Tensor), *self.given),
            solution_length=len(self.mean),
            initial_bounds=(-1.0, 1.0),
            vectorized=True,
            seed=self.seed,
        )
        self.search = algorithms.PGPE(
            problem,
            popsize=self.setting.population,
            center_learning_rate=self.setting.step_size,
            stdev_learning_rate=0.1,
            stdev_init=self.setting.sigma,
            center_init=self.mean,
            optimizer="adam",
            ranking_method="centered",
        )

    def move(self, pixels: Tensor, labels: Tensor) -> None:
        """One generation."""
        self.given = pixels, labels
        self.search.step()
        self.mean = self.search.status["center"].as_subclass(Tensor)


TUNED: dict[str, tuple[type[Strategy], Setting]] = {
    "evosax Open_ES": (OpenES, Setting(0.01, 0.03, 64)),
    "EvoTorch PGPE": (PGPE, Setting(0.01, 0.1, 100)),
    "rank-1 ES (EGGROLL)": (RankOne, Setting(0.003, 0.03, 10)),
}


@torch.no_grad()
def reached(name: str, setting: Setting, data: Dataset, seed: int, *, marks: tuple[int, ...]) -> list[float]:
    """Test accuracies after the budget divided by ``marks``."""
    kind, _ = TUNED[name]
    network = composed(EXPERIMENT).network
    assert network
    strategy = kind(data, network, setting, seed)
    found = []
    for mark in marks:
        while strategy.steps * setting.population * BATCH < BUDGET / mark:
            strategy.step()
        found.append(strategy.accuracy())
    return found


def evolved(data: Dataset, compute: Compute, seed: int) -> list[float]:
    """The same of the mean network of evolution, as its experiment is, which stops once its alleles are fixed."""
    config = composed(EXPERIMENT, f"seed={seed}")
    learner = NetworkEvolution(config, data, compute)
    each, found = config.learner.population * config.learner.batch, []
    for mark in MARKS:
        while learner.generation * each < BUDGET / mark and learner.reason_to_stop() is None:
            learner.step()
        found.append(float(learner.evaluate(data.test_images, data.test_labels)["test/mean_weights"]))
    return found


def measured(name: str, setting: tuple[str, str, str], reach: Callable[[int], list[float]]) -> dict[str, object]:
    """What a strategy reaches, over seeds."""
    start = time.perf_counter()
    tried = torch.tensor([reach(seed) for seed in SEEDS]) * 100
    seconds = (time.perf_counter() - start) / len(SEEDS)
    spreads = tried.std(dim=0) / len(SEEDS) ** 0.5
    figures = zip(MARKS, tried.mean(dim=0).tolist(), spreads.tolist(), strict=True)
    after = {f"{BUDGET / mark / 1e6:.1f} million": f"{mean:.2f} ± {error:.2f}" for mark, mean, error in figures}
    shown = dict(zip(("step", "sigma", "N"), setting, strict=True))
    row: dict[str, object] = {"strategy": name, **shown, **after, "seconds": f"{seconds:.0f}"}
    console.print(row)
    return row


def filter_peers(data: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Accuracy against evaluations, three seeds each."""
    learner = composed(EXPERIMENT).learner
    epsilons = f"{learner.epsilon:g} to {learner.epsilon_final:g}"
    rows = [measured("eq. (3)", (epsilons, "", str(learner.population)), lambda seed: evolved(data, compute, seed))]
    for name, (_, setting) in TUNED.items():
        shown = str(setting.step_size), str(setting.sigma), str(setting.population)
        reach = partial(reached, name, setting, data, marks=MARKS)
        rows.append(measured(name, shown, reach))
    show("Test accuracy, %, after so many evaluations", rows)
    return rows


def tune_filter_peers(data: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """From TUNED to the best neighbour, for as long as there is a better."""
    rows: list[dict[str, object]] = []
    for name, (_, start) in TUNED.items():

        def judge(setting: Setting, name: str = name) -> float:
            (accuracy,) = reached(name, setting, data, 0, marks=MARKS[:1])
            console.print(f"{name}, {setting}: {accuracy:.2%}")
            return accuracy

        best, accuracy = best_setting(start, judge)
        rows.append({"name": name, "setting": str(best), "accuracy, %": 100 * accuracy})
    return rows
