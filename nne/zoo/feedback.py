"""Backpropagation and its kin: the same updates, by other ways down for the error.

Layers ``h_i = relu(W_i h_{i-1})`` under a softmax with the error ``e = z - l``. All change weights by
``W_i -= rate * delta_i h_{i-1}^T``, averaged over a minibatch, and differ in ``delta_i``, ``[B, units]``:

- ``backprop``: ``delta_i = (delta_{i+1} W_{i+1}) relu'``, which transports every weight to the way down.
- ``fa``, feedback alignment (Lillicrap et al. 2016, doi 10.1038/ncomms13276): a fixed random ``B`` for ``W``.
- ``sign``, sign symmetry (Liao et al. 2016, arXiv 1510.05067): the signs of ``W`` alone.
- ``kp``, Kolen and Pollack's rule (Akrout et al. 2019, arXiv 1904.05391): ``B`` gets the same updates as ``W``, and
  both decay, so that they become alike; no weight is transported.
- ``mirror``, weight mirrors (the same): noise fired through a layer teaches ``B`` to be like ``W``.
- ``dfa``, direct feedback alignment (Nokland 2016, arXiv 1609.01596): ``delta_i = (e B_i) relu'`` for every layer.
- ``frozen``: hidden layers stay as they were drawn. The floor under all of them.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, one_hot

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.learner import Learner, Metrics, State, annealed, check_state
from nne.training.models.network import SparseNetwork, trainable_network
from nne.training.models.plain import layered
from nne.training.seeding import generator
from nne.zoo.config import FeedbackConfig

CHUNK = 2000  # images at a time, where nothing is learnt


class WayDown(ABC):
    """What the error meets on its way down: ``feedback`` is what multiplies it, and is saved with the weights."""

    needs_transport: ClassVar[bool] = False
    """Whether the way down must know the weights of the way up."""

    def __init__(self, weights: list[Tensor], config: FeedbackConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.feedback: list[Tensor] = self.drawn(weights)

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        """The feedback at the start: by default none."""
        return []

    @abstractmethod
    def deltas(self, e: Tensor, h: list[Tensor], weights: list[Tensor]) -> list[Tensor | None]:
        """``delta_i: [B, units]`` of every hidden layer, given the error ``[B, C]``; None: no change."""

    def adapt(self, updates: list[Tensor], weights: list[Tensor], step: int) -> None:  # noqa: B027  # most do not
        """Change the feedback, once weights have changed by ``-updates``: by default nothing."""


class Frozen(WayDown):
    """No way down."""

    def deltas(self, e: Tensor, h: list[Tensor], weights: list[Tensor]) -> list[Tensor | None]:
        return [None] * len(h)


class Layerwise(WayDown):
    """Layer by layer, through a matrix for each: by default random and fixed, as feedback alignment has it."""

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        return [_random_like(w, self.seed, i) for i, w in enumerate(weights[1:])]

    def matrices(self, weights: list[Tensor]) -> list[Tensor]:
        """``[units_{i+1}, units_i]`` of every layer but the first."""
        return self.feedback

    def deltas(self, e: Tensor, h: list[Tensor], weights: list[Tensor]) -> list[Tensor | None]:
        result: list[Tensor | None] = []
        for matrix, activity in zip(reversed(self.matrices(weights)), reversed(h), strict=True):
            e = (e @ matrix) * (activity > 0)
            result.insert(0, e)
        return result


class Backprop(Layerwise):
    """The transposed weights themselves."""

    needs_transport = True

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        return []

    def matrices(self, weights: list[Tensor]) -> list[Tensor]:
        return weights[1:]


class SignSymmetry(Backprop):
    """Their signs, all of the mean size of the weights."""

    def matrices(self, weights: list[Tensor]) -> list[Tensor]:
        return [w.sign() * w.abs().mean() for w in weights[1:]]


class KolenPollack(Layerwise):
    """The same updates as the weights', and the same decay for both."""

    def adapt(self, updates: list[Tensor], weights: list[Tensor], step: int) -> None:
        kept = 1 - self.config.feedback_rate
        for i, update in enumerate(updates[1:]):
            self.feedback[i] = kept * (self.feedback[i] - update)
            weights[i + 1].mul_(kept)


class WeightMirror(Layerwise):
    """Noise ``xi`` at a layer, and what comes of it above: ``B`` moves towards ``W`` by ``xi`` times the response."""

    def adapt(self, updates: list[Tensor], weights: list[Tensor], step: int) -> None:
        rate, stream = self.config.feedback_rate, generator(self.seed, "mirror", step)
        for i, w in enumerate(weights[1:]):
            xi = torch.randn(self.config.batch, w.shape[1], generator=stream).to(w.device)
            response = (xi @ w.T).T @ xi / len(xi)
            self.feedback[i] = (1 - rate) * self.feedback[i] + rate * response


class Direct(WayDown):
    """From the output straight to every layer, through fixed random matrices ``[C, units]``."""

    def drawn(self, weights: list[Tensor]) -> list[Tensor]:
        classes = len(weights[-1])
        return [_random_like(w.new_empty(classes, len(w)), self.seed, i) for i, w in enumerate(weights[:-1])]

    def deltas(self, e: Tensor, h: list[Tensor], weights: list[Tensor]) -> list[Tensor | None]:
        return [(e @ B) * (activity > 0) for B, activity in zip(self.feedback, h, strict=True)]


RULES: dict[str, type[WayDown]] = {
    "frozen": Frozen,
    "backprop": Backprop,
    "fa": Layerwise,
    "dfa": Direct,
    "sign": SignSymmetry,
    "kp": KolenPollack,
    "mirror": WeightMirror,
}


class Feedback(Learner):
    """Learns by one of ``RULES``; a step is an epoch."""

    step_name = "epoch"
    charts: ClassVar[dict[str, list[str]]] = {
        "accuracy": ["test/accuracy", "train/accuracy"],
        "alignment with backpropagation": ["alignment/cosine"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        self.learner_config: FeedbackConfig = config.learner
        self.seed = config.seed
        self.max_steps = config.trainer.max_steps
        self.compute = compute
        self.images, self.labels = data.train_images, data.train_labels
        self.classes = len(data.classes)
        assert config.network
        network = trainable_network(config.network, self.images.shape[1], self.classes, config.seed)
        assert isinstance(network, SparseNetwork)
        layers = [layer.matrix.detach() for layer in network.hidden]  # type: ignore[operator]
        self.weights = [w.to(compute.device) for w in (*layers, network.outputs.detach().T.contiguous())]
        self.present = [(w != 0).to(w.dtype) for w in self.weights]
        self.way_down = RULES[self.learner_config.rule](self.weights, self.learner_config, config.seed)
        self.epoch = self.updates = 0

    def step(self) -> Metrics:
        """One epoch, in an order drawn anew."""
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "epoch", self.epoch))
        right = torch.zeros((), device=self.images.device)
        for chosen in torch.split(order.to(self.images.device), self.learner_config.batch):
            right += self.learn(self.images[chosen], self.labels[chosen])
        cosine = self.alignment(self.images[: self.learner_config.batch], self.labels[: self.learner_config.batch])
        self.epoch += 1
        accuracy, aligned = torch.stack([right / len(self.labels), cosine]).tolist()
        return {"train/accuracy": accuracy, "alignment/cosine": aligned, "learning_rate": self.learning_rate}

    def learn(self, images: Tensor, labels: Tensor) -> Tensor:
        """One update of every layer; how many of the images were answered right."""
        h, logits = self.forward(images)
        updates = self.changes(images, labels, h, logits, self.way_down)
        for w, update in zip(self.weights, updates, strict=True):
            w -= update
        self.way_down.adapt(updates, self.weights, self.updates)
        self.updates += 1
        return (logits.argmax(dim=1) == labels).sum()

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The hidden layers ``[B, units]`` and the logits ``[B, C]``."""
        h = [images]
        for w in self.weights[:-1]:
            h.append((h[-1] @ w.T).relu())
        return h[1:], h[-1] @ self.weights[-1].T

    def changes(
        self, images: Tensor, labels: Tensor, h: list[Tensor], logits: Tensor, way_down: WayDown
    ) -> list[Tensor]:
        """``rate * delta_i h_{i-1}^T`` of every layer, averaged over the images, where there are links."""
        label = one_hot(labels, self.classes).to(logits.dtype)
        e = logits.softmax(dim=1) - label
        deltas = [*way_down.deltas(e, h, self.weights), e]
        below, rate = [images, *h], self.learning_rate / len(images)
        return [
            torch.zeros_like(w) if delta is None else rate * (delta.T @ seen) * there
            for delta, seen, w, there in zip(deltas, below, self.weights, self.present, strict=True)
        ]

    def alignment(self, images: Tensor, labels: Tensor) -> Tensor:
        """The cosine between the hidden layers' changes and those of backpropagation; 0 where there are none."""
        h, logits = self.forward(images)
        backprop = Backprop(self.weights, self.learner_config, self.seed)
        ours, theirs = (
            torch.cat([change.flatten() for change in self.changes(images, labels, h, logits, way)[:-1]])
            for way in (self.way_down, backprop)
        )
        cosine: Tensor = cosine_similarity(ours, theirs, dim=0)
        return cosine

    @property
    def learning_rate(self) -> float:
        """The size of an update now."""
        return annealed(self.learner_config.learning_rate, self.learner_config.decay, self.epoch, self.max_steps)

    def answers(self, images: Tensor) -> Tensor:
        """``[B]``: which class each of some images is taken for."""

        def answer() -> Tensor:
            blocks = torch.split(images, CHUNK)
            return torch.cat([self.forward(block)[1].argmax(dim=1) for block in blocks])

        return self.answers_at(self.epoch, images, answer)

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Test accuracy."""
        return {"test/accuracy": float((self.answers(images) == labels).double().mean())}

    def as_module(self) -> nn.Module:
        """The network, which answers without any way down."""
        return layered(self.weights, None)

    def figures(self, images: Tensor, labels: Tensor) -> Any:
        """The confusion matrix."""
        from nne.training.logging import figures

        yield "confusion", figures.confusion(self.confusion(images, labels), f"After {self.epoch} epochs")

    def state_dict(self) -> State:
        """Weights and feedback."""
        return {
            "epoch": torch.tensor(self.epoch),
            "updates": torch.tensor(self.updates),
            **{f"weights/{i}": w.clone() for i, w in enumerate(self.weights)},
            **{f"feedback/{i}": B.clone() for i, B in enumerate(self.way_down.feedback)},
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved epoch."""
        check_state(state, self.state_dict(), "another network or rule")
        device = self.images.device
        self.epoch, self.updates = int(state["epoch"]), int(state["updates"])
        self.weights = [state[f"weights/{i}"].clone().to(device) for i in range(len(self.weights))]
        self.way_down.feedback = [state[f"feedback/{i}"].clone().to(device) for i in range(len(self.way_down.feedback))]
        self._last_answers = None


def _random_like(w: Tensor, seed: int, layer: int) -> Tensor:
    """A matrix of the same shape, uniform and of variance ``1 / fan-in`` on its way down."""
    bound = (3 / len(w)) ** 0.5
    matrix: Tensor = (2 * torch.rand(w.shape, generator=generator(seed, "feedback", layer)) - 1) * bound
    return matrix.to(w.device, w.dtype)
