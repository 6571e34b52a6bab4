"""Spikes and a reward: spike-timing-dependent plasticity whose sign is whether the answer was right (R-STDP).

After Mozafari et al. 2019 (arXiv 1804.00227), for one layer. A bright pixel fires early, once: by time ``t`` of ``T``
those of at least ``1 - t / T`` have. A neuron's potential is the sum of its weights from what has fired; the first to
reach ``threshold`` (if none does, that of the largest potential) answers with its own class, and it alone learns. With
``f = w (1 - w)``, which holds ``w`` within 0 and 1::

    right:  w += rate * error * f * (+5 if the pixel had fired, else -3)
    wrong:  w += rate * (1 - error) * f * (-2 if the pixel had fired, else +1)

where ``error`` is the share of wrong answers in the epoch before, which balances reward and punishment. Neurons are
left out at random while they learn. The factors are not the authors', whose network has three convolutional layers.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute, send
from nne.training.learner import Metrics, State, check_state
from nne.training.seeding import generator
from nne.zoo.answering import Answering
from nne.zoo.config import RewardStdpConfig

CHUNK = 500  # images at a time, where nothing is learnt
REWARDED, PUNISHED = (5.0, -3.0), (-2.0, 1.0)  # of pixels that had fired, and of others
DROPPED = 0.4  # share of neurons that are left out of an image


def fired_by(images: Tensor, times: int) -> Tensor:
    """Which pixels have fired at each time, ``[B, T, inputs]``, of images ``[B, inputs]``."""
    levels = torch.arange(times, 0, -1, device=images.device) / times
    return (images[:, None, :] >= levels[:, None]).to(images.dtype)


def race(w: Tensor, fired: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """When each neuron fires, ``[B, neurons]`` (``T`` if never), and a score that is larger the sooner it does.

    Of those that fire at the same time, or never, the one of the larger potential has the larger score.
    """
    potential = fired @ w.T
    times = potential.shape[1]
    crossed = potential >= threshold
    when = torch.where(crossed.any(dim=1), crossed.int().argmax(dim=1), times)
    then = potential.gather(1, when.clamp(max=times - 1)[:, None, :])[:, 0]
    return when, then / (w.shape[1] + 1) - when


class FirstToFire(nn.Module):
    """A layer that answers with the class of the neuron that fires first."""

    def __init__(self, w: Tensor, classes: int, times: int, threshold: float) -> None:
        super().__init__()
        self.w = nn.Parameter(w.detach().cpu().clone())
        self.classes = classes
        self.times = times
        self.threshold = threshold

    def forward(self, images: Tensor) -> Tensor:
        """``[B, C]``, the score of each class's best neuron."""
        _, score = race(self.w, fired_by(images, self.times), self.threshold)
        best: Tensor = score.view(len(images), self.classes, -1).amax(dim=2)
        return best


class RewardStdp(Answering):
    """Neurons of every class, of which the first to fire answers and learns; a step is an epoch."""

    charts: ClassVar[dict[str, list[str]]] = {
        "accuracy": ["test/accuracy", "train/accuracy"],
        "images that no neuron fires for": ["spikes/silent"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        self.rule: RewardStdpConfig = config.learner
        self.seed = config.seed
        self.compute = compute
        self.images, self.labels = data.train_images, data.train_labels
        self.classes = len(data.classes)
        shape = self.classes * self.rule.neurons, self.images.shape[1]
        drawn = torch.randn(shape, generator=generator(config.seed, "initial weights"))
        self.w = (0.5 + 0.05 * drawn).clamp(0.01, 0.99).to(compute.device)
        self.of_class = torch.arange(self.classes, device=compute.device).repeat_interleave(self.rule.neurons)
        self.error = torch.tensor(0.5, device=compute.device)
        self.epoch = 0

    def step(self) -> Metrics:
        """One epoch, in an order drawn anew."""
        stream = generator(self.seed, "epoch", self.epoch)
        order = torch.randperm(len(self.labels), generator=stream)
        wrong = silent = torch.zeros((), device=self.images.device)
        for chosen in torch.split(order, self.rule.batch):
            kept = torch.rand(len(chosen), len(self.w), generator=stream) >= DROPPED
            rows = send(chosen, self.images.device)
            missed, quiet = self.learn(self.images[rows], self.labels[rows], send(kept, self.images.device))
            wrong, silent = wrong + missed, silent + quiet
        self.error = wrong / len(self.labels)
        self.epoch += 1
        accuracy, quiet_share = torch.stack([1 - self.error, silent / len(self.labels)]).tolist()
        return {"train/accuracy": accuracy, "spikes/silent": quiet_share}

    def learn(self, images: Tensor, labels: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """One update; how many images were answered wrong, and how many by no spike."""
        fired = fired_by(images, self.rule.times)
        when, score = race(self.w, fired, self.rule.threshold)
        winner = score.masked_fill(~kept, -torch.inf).argmax(dim=1)
        own = when.gather(1, winner[:, None])[:, 0]
        had_fired = fired[torch.arange(len(images), device=images.device), own.clamp(max=self.rule.times - 1)] > 0
        right = self.of_class[winner] == labels
        rewarded = torch.where(had_fired, *REWARDED) * self.error
        punished = torch.where(had_fired, *PUNISHED) * (1 - self.error)
        signs = torch.where(right[:, None], rewarded, punished)
        w = self.w[winner]
        change = torch.zeros_like(self.w).index_add(0, winner, self.rule.learning_rate * signs * w * (1 - w))
        self.w = (self.w + change).clamp(0, 1)
        return (~right).sum(), (own == self.rule.times).sum()

    def answers(self, images: Tensor) -> Tensor:
        """``[B]``: the class of the neuron that fires first."""

        def answer() -> Tensor:
            found = []
            for block in torch.split(images, CHUNK):
                _, score = race(self.w, fired_by(block, self.rule.times), self.rule.threshold)
                found.append(self.of_class[score.argmax(dim=1)])
            return torch.cat(found)

        return self.answers_at(self.epoch, images, answer)

    def as_module(self) -> nn.Module:
        """The race."""
        return FirstToFire(self.w, self.classes, self.rule.times, self.rule.threshold)

    def histograms(self) -> dict[str, Tensor]:
        """The weights, which go to 0 and 1."""
        return {"weights": self.w}

    def state_dict(self) -> State:
        """Weights, and the share of wrong answers."""
        return {"epoch": torch.tensor(self.epoch), "w": self.w.clone(), "error": self.error.clone()}

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved epoch."""
        check_state(state, self.state_dict(), "another layer of spikes")
        self.epoch = int(state["epoch"])
        self.w, self.error = (state[name].clone().to(self.compute.device) for name in ("w", "error"))
        self._last_answers = None
