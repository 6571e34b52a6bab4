"""Spikes without labels: competing neurons, spike-timing-dependent plasticity and thresholds that adapt.

After Diehl and Cook 2015 (doi 10.3389/fncom.2015.00099). An image is shown for ``T`` ms: each pixel fires at random,
up to ``RATE`` times a ms where it is white. Excitatory neurons integrate, leak and fire above a threshold that grows by
``theta_plus`` with each spike of their own; who fires holds all others down. At a spike a neuron's synapses move by ::

    w += eta (x_pre - x_tar) (1 - w)^mu

where ``x_pre`` decays from 1 since the last spike of a pixel: synapses from pixels that have just fired grow, others
shrink. After an image each neuron's weights are scaled to the sum ``NORM``. A neuron stands for the class for which it
fired most, and the network answers with the class whose neurons fire most on average.

Simplified, with constants as in the simulator BindsNET rather than the paper: inhibition acts at once and there is one
spike a ms at most; thresholds do not decay; no image is shown again, brighter, if few neurons fire; there is no pause.
What neurons stand for is found while weights still change. Images of a minibatch are shown side by side, each to its
own copy of the membranes, and what their spikes do to the weights is added up.
"""

from math import exp
from typing import ClassVar

import torch
from torch import Tensor

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute, send
from nne.training.learner import Metrics, State, check_state
from nne.training.logging.progress import track
from nne.training.seeding import generator
from nne.zoo.answering import Answering
from nne.zoo.config import DiehlCookConfig

REST, RESET, THRESHOLD = -65.0, -60.0, -52.0  # mV
MEMBRANE, TRACE = exp(-1 / 100), exp(-1 / 20)  # what is left after a ms
REFRACTORY = 5  # ms
RATE = 0.128  # spikes a ms of a white pixel
NORM = 78.4  # of the weights of a neuron, for 784 pixels
X_TAR, MU = 0.4, 0.2
CHUNK = 500  # images at a time, where nothing is learnt


class DiehlCook(Answering):
    """A layer of spiking neurons; a step is a pass through the images."""

    step_name, step_names = "pass", "passes"
    charts: ClassVar[dict[str, list[str]]] = {
        "accuracy": ["test/accuracy", "train/accuracy"],
        "spikes an image": ["spikes/image"],
        "neurons that never fire": ["neurons/silent"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        self.rule: DiehlCookConfig = config.learner
        self.seed = config.seed
        self.compute = compute
        self.images, self.labels = data.train_images, data.train_labels
        self.classes = len(data.classes)
        inputs, neurons = self.images.shape[1], self.rule.neurons
        self.norm = NORM * inputs / 784
        drawn = torch.rand(neurons, inputs, generator=generator(config.seed, "initial weights")).to(compute.device)
        self.w = drawn * (self.norm / drawn.sum(dim=1, keepdim=True))
        self.theta = torch.zeros(neurons, device=compute.device)
        self.of_class = torch.zeros(self.classes, neurons, device=compute.device)
        self.epoch = 0

    def step(self) -> Metrics:
        """Every image once, in an order drawn anew; what neurons fired for says what they stand for."""
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "epoch", self.epoch))
        batches = torch.split(order, self.rule.batch)
        fired, right = torch.zeros_like(self.of_class), torch.zeros((), device=self.compute.device)
        for i, chosen in enumerate(track(batches, "images", len(batches))):
            images, labels = (each[send(chosen, self.images.device)] for each in (self.images, self.labels))
            stream = generator(self.seed, f"spikes {self.epoch}", i)
            counts = self.shown(images, stream, learns=True)
            right += (self.answer(counts).argmax(dim=1) == labels).sum()
            fired.index_add_(0, labels, counts)
        self.of_class = fired / torch.bincount(self.labels, minlength=self.classes)[:, None]
        self.epoch += 1
        silent = (fired.sum(dim=0) == 0).float().mean()
        spikes, answered, quiet = torch.stack([fired.sum(), right, silent * len(order)]).div(len(order)).tolist()
        return {"train/accuracy": answered, "spikes/image": spikes, "neurons/silent": quiet}

    def shown(self, images: Tensor, stream: torch.Generator, learns: bool) -> Tensor:
        """How often each neuron fires, ``[B, neurons]``, while images ``[B, inputs]`` are shown for ``T`` ms."""
        shape = len(images), len(self.theta)
        v, quiet, counts = images.new_full(shape, REST), images.new_zeros(shape), images.new_zeros(shape)
        trace, row = torch.zeros_like(images), torch.arange(len(images), device=images.device)
        for _ in range(self.rule.milliseconds):
            spikes = (send(torch.rand(images.shape, generator=stream), images.device) < images * RATE).float()
            trace = torch.maximum(trace * TRACE, spikes)
            v = REST + (v - REST) * MEMBRANE + (spikes @ self.w.T) * (quiet <= 0)
            quiet = quiet - 1
            above, first = (v - THRESHOLD - self.theta).max(dim=1)
            fires = above >= 0
            v = torch.where(fires[:, None], v - self.rule.inhibition, v)
            v[row, first] = torch.where(fires, RESET, v[row, first])
            quiet[row, first] = torch.where(fires, REFRACTORY, quiet[row, first])
            counts[row, first] += fires
            if learns:
                self.learn(first, fires.to(v.dtype), trace)
        if learns:
            self.w = self.w * (self.norm / self.w.sum(dim=1, keepdim=True).clamp(min=1e-9))
        return counts

    def learn(self, first: Tensor, fires: Tensor, trace: Tensor) -> None:
        """Synapses of the neurons that fire, and their thresholds."""
        room = (1 - self.w[first]).clamp(min=0) ** MU
        change = self.rule.eta * (trace - X_TAR) * room * fires[:, None]
        self.w = self.w.index_add(0, first, change).clamp_(0, 1)
        self.theta = self.theta.index_add(0, first, self.rule.theta_plus * fires)

    def answer(self, counts: Tensor) -> Tensor:
        """For each class the mean count of its neurons, ``[B, C]`` of ``[B, neurons]``; 0 where it has none."""
        stands = torch.nn.functional.one_hot(self.of_class.argmax(dim=0), self.classes).to(counts.dtype)
        stands = stands * (self.of_class.sum(dim=0) > 0)[:, None]
        return counts @ stands / stands.sum(dim=0).clamp(min=1)

    def answers(self, images: Tensor) -> Tensor:
        """``[B]``: the class whose neurons fire most; the same images are met by the same spikes."""

        def answer() -> Tensor:
            found = []
            for i, block in enumerate(torch.split(images, CHUNK)):
                counts = self.shown(block, generator(self.seed, "spikes of a test", i), learns=False)
                found.append(self.answer(counts).argmax(dim=1))
            return torch.cat(found)

        return self.answers_at(self.epoch, images, answer)

    def histograms(self) -> dict[str, Tensor]:
        """Weights and thresholds."""
        return {"weights": self.w, "theta": self.theta}

    def state_dict(self) -> State:
        """Weights, thresholds, and what neurons stand for."""
        named = {"w": self.w, "theta": self.theta, "of_class": self.of_class}
        return {"passes": torch.tensor(self.epoch), **{name: tensor.clone() for name, tensor in named.items()}}

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved pass."""
        check_state(state, self.state_dict(), "another layer of spikes")
        self.epoch = int(state["passes"])
        moved = (state[name].clone().to(self.compute.device) for name in ("w", "theta", "of_class"))
        self.w, self.theta, self.of_class = moved
        self._last_answers = None
