"""A network that learns by one of ``nne.zoo.ways_down``: minibatches, errors, updates, and how near to the gradient."""

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
from nne.zoo.ways_down import RULES, Backprop, WayDown

CHUNK = 2000  # images at a time, where nothing is learnt


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
        present = [layer.get_buffer("present") for layer in network.hidden]
        self.present = [there.to(compute.device) for there in (*present, torch.ones_like(network.outputs.T))]
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
