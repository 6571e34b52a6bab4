"""Dopaminergic plasticity, the learner: see an image, answer, feel how good the outcome was (Sec. 3.2)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from dnn.config import DopamineConfig
from dnn.gram import gram
from dnn.hebbian import hidden_layer
from dnn.output_weights import Dual, Primal, Synapses, dense_weights
from dnn.rules import Outcome, chosen_rule
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute, send
from nne.training.errors import require
from nne.training.learner import Learner, Metrics, State, annealed, check_state, tally
from nne.training.models.plain import linear
from nne.training.seeding import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Dopamine(Learner):
    """A fixed random hidden layer, and an output layer whose links are rewarded and punished; a step is an epoch."""

    step_name = "epoch"
    headline = "test/accuracy"
    result = "test_accuracy"
    charts: ClassVar[dict[str, list[str]]] = {
        "accuracy": ["test/accuracy", "train/accuracy"],
        "share of links that an image changes": ["links/rewarded", "links/punished"],
        "length of an output neuron's weights": ["weights/shortest", "weights/longest"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        assert config.features is not None
        self.learner_config: DopamineConfig = config.learner
        self.seed = config.seed
        self.max_steps = config.trainer.max_steps
        self.features = config.features
        self.features_seed = config.features_seed
        self.data = data
        self.rule = chosen_rule(self.learner_config.rule)
        self.compute = compute
        self.device = torch.device("cpu") if self.learner_config.path == "dual" else compute.device
        self.targets = one_hot(data.train_labels).float().to(self.device)
        self.synapses = synapses(config, data, compute)
        self.firing = self.synapses.activity.firing.to(self.device)[:, None] / self.targets.shape[1]
        self.epoch = 0
        self.dopamine = torch.zeros_like(self.targets)
        self.settled = False

    def step(self) -> Metrics:
        """Present every training image once, in an order drawn anew."""
        stream = generator(self.seed, "epoch", self.epoch)
        order = send(torch.randperm(len(self.targets), generator=stream), self.device)
        draws = send(torch.rand(len(order), 1, generator=stream), self.device)
        targets = self.targets[order]
        answers, dopamine = torch.empty_like(targets), torch.empty_like(targets)
        rate = self.epsilon_1 / self.learner_config.batch

        def respond(logits: Tensor, which: slice) -> Tensor:
            outcome = Outcome(logits.softmax(dim=1), targets[which], draws[which], self.learner_config.epsilon_0)
            u = self.rule(outcome)
            answers[which], dopamine[which] = logits, u
            return u * rate

        self.synapses.learn(order, self.learner_config.batch, respond)
        self.epoch += 1
        self.dopamine = dopamine[order.argsort()]
        if self.learner_config.average and self.max_steps and self.epoch > self.max_steps / 2:
            self.synapses.update_average()
        return self.metrics(answers, dopamine, order)

    def metrics(self, answers: Tensor, dopamine: Tensor, order: Tensor) -> Metrics:
        """What an epoch says about itself; accuracy and loss are those of the answers as they were given."""
        targets = self.targets[order]
        fired, norms = self.firing[order], self.synapses.norms()
        figures = {
            "logits/largest": answers.abs().max(),
            "train/accuracy": (answers.argmax(dim=1) == targets.argmax(dim=1)).double().mean(),
            "train/loss": cross_entropy(answers, targets),
            "links/rewarded": ((dopamine > 0) * fired).sum(dim=1).mean(),
            "links/punished": ((dopamine < 0) * fired).sum(dim=1).mean(),
            "weights/shortest": norms.min(),
            "weights/longest": norms.max(),
        }
        moved = [*figures.values(), dopamine.any()]
        *told, changed = torch.stack([figure.double() for figure in moved]).tolist()  # a GPU is waited for
        self.settled = not changed
        return {**dict(zip(figures, told, strict=True)), "learning_rate": self.epsilon_1}

    @property
    def epsilon_1(self) -> float:
        """The size of an update now."""
        return annealed(self.learner_config.epsilon_1, self.learner_config.decay, self.epoch, self.max_steps)

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Test accuracy, of the averaged weights if they are what is asked for."""
        return {"test/accuracy": float((self.answers(images) == labels).double().mean())}

    def answers(self, images: Tensor) -> Tensor:
        """``[B]``: which class each of some images is taken for."""

        def answer() -> Tensor:
            given = None if images is self.data.train_images else images
            logits = self.synapses.logits(given, self.learner_config.average)
            return logits.argmax(dim=1).to(images.device)

        return self.answers_at(self.epoch, images, answer)

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """Test accuracy, and how much of the hidden layer fires."""
        firing = float(self.synapses.activity.firing.mean())
        return {"test_accuracy": self.evaluate(images, labels)["test/accuracy"], "firing": firing}

    def confusion(self, images: Tensor, labels: Tensor) -> Tensor:
        """Of the network."""
        return tally(labels, self.answers(images), self.targets.shape[1])

    def as_module(self) -> nn.Module:
        """With weights written out, as if they had always been kept."""
        learner_config, infinite = self.learner_config, self.features.width == float("inf")
        require(not infinite, "features.width=inf: infinitely many hidden units cannot be written out")
        layer = hidden_layer(self.features, self.features_seed, self.data, torch.float32)
        w = self.synapses.parameters(learner_config.average)
        if learner_config.path == "dual":
            start = layer.output_weights(self.targets.shape[1], learner_config.initial)
            w = dense_weights(w, start, layer, self.data.train_images, learner_config.presynaptic == "binary")
        return nn.Sequential(*layer.layers(), linear(w.T))

    def reason_to_stop(self) -> str | None:
        """Nothing moved in a whole epoch, so nothing will."""
        ended = self.settled and not self.learner_config.average
        return f"no link was changed in epoch {self.epoch}" if ended else None

    def histograms(self) -> dict[str, Tensor]:
        """Dopamine where there was any, and how often hidden units fire."""
        changed = self.dopamine[self.dopamine != 0]
        units = self.synapses.activity.unit_firing
        return {k: v for k, v in {"dopamine": changed, "features/firing": units}.items() if v.numel()}

    def figures(self, images: Tensor, labels: Tensor) -> "Iterator[tuple[str, Figure]]":
        """The confusion matrix, and how many firing hidden units two classes share."""
        from dnn import figures
        from nne.training.logging.figures import confusion

        yield "confusion", confusion(self.confusion(images, labels), f"After {self.epoch} epochs")
        yield "overlap", figures.overlap(self.synapses.activity)

    def state_dict(self) -> State:
        """The synapses, the epoch, and the dopamine of its images."""
        return {**self.synapses.state_dict(), "epoch": torch.tensor(self.epoch), "dopamine": self.dopamine}

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved epoch."""
        check_state(state, self.state_dict(), "other synapses")
        self.synapses.load_state_dict(state)
        self.epoch = int(state["epoch"])
        self.dopamine = state["dopamine"].to(self.device)
        self.settled = self.epoch > 0 and not self.dopamine.any()
        self._last_answers = None


def synapses(config: Config, data: Dataset, compute: Compute) -> Synapses:
    """The output layer that a configuration describes, in the primal or in the dual."""
    learner_config, features, seed = config.learner, config.features, config.features_seed
    assert features is not None
    if learner_config.path == "dual":
        return Dual(gram(features, seed, learner_config, data))
    layer = hidden_layer(features, seed, data, compute.dtype)
    start = layer.output_weights(len(data.classes), learner_config.initial)
    return Primal(layer, data, start, learner_config.presynaptic == "binary")
