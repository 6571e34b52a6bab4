"""A network whose layers change by a rule that is not backpropagation: what all such learners share.

Layers ``h_i = f(W_i h_{i-1})`` with ``h_0`` the image ``x``, and logits ``W_L h_{L-1}`` under a softmax ``z``. A
learner says what it takes for the gradient; how near that is to the real one is logged.
"""

from abc import abstractmethod
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy, one_hot

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.data.jitter import jittered
from nne.training.device import Compute, send
from nne.training.errors import UserError
from nne.training.learner import Metrics, State, annealed, check_state
from nne.training.models import plain
from nne.training.models.network import SparseNetwork, trainable_network
from nne.training.seeding import generator
from nne.zoo.answering import Answering
from nne.zoo.config import LayersConfig

CHUNK = 2000  # images at a time, where nothing is learnt
PROBE = 50  # training images on which a change is held against the gradient


class Need(Enum):
    """What the hidden layers need, to learn by a rule, that a neuron may not have."""

    TRANSPORT = "the weights of other synapses"
    ERROR = "an error for each output"
    SCALAR = "one scalar for all"
    SECOND_PASS = "a second pass"
    LABELS = "labels in hidden layers"


class Layers(Answering):
    """Learns minibatch by minibatch; a step is an epoch."""

    charts: ClassVar[dict[str, list[str]]] = {
        "accuracy": ["test/accuracy", "train/accuracy"],
        "alignment with the gradient": ["alignment/cosine"],
    }
    needs: frozenset[Need]
    activation: ClassVar[type[nn.Module]] = nn.ReLU
    """``f``."""

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        self.learner_config: LayersConfig = config.learner
        self.seed = config.seed
        self.max_steps = config.trainer.max_steps
        self.compute = compute
        self.jitter = config.images.jitter
        self.images, self.labels = data.train_images, data.train_labels
        self.classes = len(data.classes)
        assert config.network
        network = trainable_network(config.network, self.images.shape[1], self.classes, config.seed)
        assert isinstance(network, SparseNetwork)
        matrices = [layer.matrix.detach() for layer in network.hidden]  # type: ignore[operator]
        self.weights = [w.to(compute.device) for w in (*matrices, network.outputs.detach().T.contiguous())]
        present = [layer.get_buffer("present") for layer in network.hidden]
        self.present = [there.to(compute.device) for there in (*present, torch.ones_like(network.outputs.T))]
        self.memory: dict[str, Tensor] = {}
        self.f = self.activation()
        self.probe = torch.linspace(0, len(self.labels) - 1, min(PROBE, len(self.labels))).long().to(compute.device)
        self.epoch = self.updates = 0

    @abstractmethod
    def changes(self, images: Tensor, labels: Tensor, step: int) -> tuple[list[Tensor], Tensor | None]:
        """What is taken for the gradient by every layer's weights ``[units, sources]``, averaged over the images.

        Args:
            images, labels: ``[B, inputs]`` and ``[B]``.
            step: what random numbers may depend on besides the seed; negative where this is no update, and nothing in
                ``memory`` may change.

        Returns:
            A matrix for each layer, the output layer's last, and the logits ``[B, C]``, if the rule comes by them.
        """

    def adapt(self, updates: list[Tensor], step: int) -> None:
        """Change what is in ``memory``, once weights have changed by ``-updates``: by default nothing."""

    def more_figures(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What else is logged of an epoch, of some training images: by default nothing."""
        return {}

    def logits(self, images: Tensor) -> Tensor:
        """``[B, C]``."""
        return self.forward(images)[-1]

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss whose gradient the changes are compared with: by default the mean cross-entropy of the answers."""
        return cross_entropy(self.logits(images), labels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The hidden layers ``[B, units]``, and the logits last."""
        h = [images]
        for w in self.weights[:-1]:
            h.append(self.f(h[-1] @ w.T))
        return [*h[1:], h[-1] @ self.weights[-1].T]

    def label(self, labels: Tensor) -> Tensor:
        """``l``, one-hot ``[B, C]``."""
        return one_hot(labels, self.classes).to(self.weights[0].dtype)

    @property
    def learning_rate(self) -> float:
        """The size of an update now."""
        return annealed(self.learner_config.learning_rate, self.learner_config.decay, self.epoch, self.max_steps)

    def step(self) -> Metrics:
        """One epoch, in an order drawn anew."""
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "epoch", self.epoch))
        order = send(order, self.images.device)
        batches = torch.split(order, self.learner_config.batch)
        answers = [self.learn(self.shown(chosen), self.labels[chosen]) for chosen in batches]
        rate, probe = self.learning_rate, (self.images[self.probe], self.labels[self.probe])
        figures = {"alignment/cosine": self.alignment(*probe), **self.more_figures(*probe)}
        self.epoch += 1
        total = torch.stack([w.sum() for w in self.weights]).sum()
        every = [self.accuracy(answers, order), total.isfinite(), *figures.values()]
        accuracy, finite, *values = torch.stack([each.float() for each in every]).tolist()  # here a GPU is waited for
        if not finite:
            raise UserError(
                f"weights have grown beyond all bounds in epoch {self.epoch}: set learner.learning_rate below "
                f"{self.learner_config.learning_rate:g}"
            )
        return {"train/accuracy": accuracy, "learning_rate": rate, **dict(zip(figures, values, strict=True))}

    def shown(self, chosen: Tensor) -> Tensor:
        """Some training images, jittered if they are to be."""
        return jittered(self.images[chosen], self.jitter, generator(self.seed, "jitter", self.updates))

    def learn(self, images: Tensor, labels: Tensor) -> Tensor | None:
        """One update of every layer; the classes that the images were taken for, if the rule answers as it learns."""
        changes, logits = self.changes(images, labels, self.updates)
        rate = self.learning_rate
        updates = [rate * change * there for change, there in zip(changes, self.present, strict=True)]
        for w, update in zip(self.weights, updates, strict=True):
            w -= update
        self.adapt(updates, self.updates)
        self.updates += 1
        return None if logits is None else logits.argmax(dim=1)

    def accuracy(self, answers: list[Tensor | None], order: Tensor) -> Tensor:
        """The share of right answers during an epoch; where none were given, of some images after it."""
        given = [each for each in answers if each is not None]
        found = torch.cat(given) if given else self.logits(self.images[order[:CHUNK]]).argmax(dim=1)
        return (found == self.labels[order[: len(found)]]).float().mean()

    def alignment(self, images: Tensor, labels: Tensor) -> Tensor:
        """The cosine between the hidden layers' changes and the gradient; 0 where there are none."""
        changes, _ = self.changes(images, labels, -1 - self.updates)
        pairs = list(zip(changes, self.gradient(images, labels), self.present, strict=True))[:-1]
        ours, theirs = (torch.cat([(each[side] * each[2]).flatten() for each in pairs]) for side in (0, 1))
        cosine: Tensor = cosine_similarity(ours, theirs, dim=0)
        return cosine

    def gradient(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        """Of ``loss``, by automatic differentiation, of every layer's weights."""
        weights = self.weights
        self.weights = [w.clone().requires_grad_() for w in weights]
        try:
            found = torch.autograd.grad(self.loss(images, labels), self.weights, allow_unused=True)
        finally:
            self.weights = weights
        return [torch.zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)]

    def answers(self, images: Tensor) -> Tensor:
        """``[B]``: which class each of some images is taken for."""

        def answer() -> Tensor:
            return torch.cat([self.logits(block).argmax(dim=1) for block in torch.split(images, CHUNK)])

        return self.answers_at(self.epoch, images, answer)

    def as_module(self) -> nn.Module:
        """The network, which answers without what it learns by."""
        *below, outputs = self.weights
        parts = [part for w in below for part in (plain.linear(w), self.activation())]
        return nn.Sequential(*parts, plain.linear(outputs))

    def histograms(self) -> dict[str, Tensor]:
        """The weights of every layer, the output layer's last."""
        return {f"weights/{i}": w for i, w in enumerate(self.weights)}

    def state_dict(self) -> State:
        """Weights, and what else has been learnt."""
        return {
            "epoch": torch.tensor(self.epoch),
            "updates": torch.tensor(self.updates),
            **{f"weights/{i}": w.clone() for i, w in enumerate(self.weights)},
            **{f"memory/{name}": tensor.clone() for name, tensor in self.memory.items()},
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved epoch."""
        check_state(state, self.state_dict(), "another network or rule")
        device = self.images.device
        self.epoch, self.updates = int(state["epoch"]), int(state["updates"])
        self.weights = [state[f"weights/{i}"].clone().to(device) for i in range(len(self.weights))]
        self.memory = {name: state[f"memory/{name}"].clone().to(device) for name in self.memory}
        self._last_answers = None


def outer(above: Tensor, below: Tensor) -> Tensor:
    """``above^T below``, averaged over the images: ``[units, sources]`` of ``[B, units]`` and ``[B, sources]``."""
    return above.T @ below / len(below)


def random_like(w: Tensor, seed: int, purpose: str, step: int = 0) -> Tensor:
    """A matrix of the shape and device of ``w``, uniform and of variance ``1 / rows``."""
    drawn = send(torch.rand(w.shape, generator=generator(seed, purpose, step)), w.device).to(w.dtype)
    matrix: Tensor = (2 * drawn - 1) * (3 / len(w)) ** 0.5
    return matrix


def normal_like(h: Tensor, seed: int, purpose: str, step: int = 0) -> Tensor:
    """Standard normal numbers of the shape and device of ``h``."""
    return send(torch.randn(h.shape, generator=generator(seed, purpose, step)), h.device).to(h.dtype)


def speed(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """The largest change of any unit."""
    return torch.stack([(a - b).abs().max() for a, b in zip(after, before, strict=True)]).max()
