"""Gradient descent, the learner: SGD, Adam or SignSGD on whatever of a network is to be trained (Sec. 3.1, 3.2)."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nne.training.baselines.signsgd import SignSGD
from nne.training.config import Config, GradientConfig
from nne.training.data.datasets import Dataset
from nne.training.data.jitter import jittered
from nne.training.device import Compute, free_memory, send
from nne.training.learner import Learner, Metrics, State, annealed, check_state, tally
from nne.training.models.output_layer import Features, Rows, SparseFeatures, take
from nne.training.seeding import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OPTIMISERS: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": partial(torch.optim.Adam, fused=True), "signsgd": SignSGD}
MEMORY_SHARE = 1 / 2  # of the memory that is free, for what the network sees of the test images


class Network(Protocol):
    """A module of ``M`` networks: ``see`` is fixed and computed once, ``forward`` is trained."""

    def see(self, images: Tensor) -> Features: ...

    def __call__(self, seen: Any) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> Any: ...

    def as_module(self) -> nn.Module: ...


class GradientDescent(Learner):
    """Minimises the cross-entropy of ``M`` networks at once, each by itself; a step is an epoch."""

    step_name = "epoch"
    headline = "test/accuracy"
    result = "test_accuracy"
    charts: ClassVar[dict[str, list[str]]] = {
        "accuracy": ["test/accuracy", "train/accuracy"],
        "loss": ["train/loss"],
        "size of the logits": ["logits/largest"],
    }

    def __init__(self, config: Config, data: Dataset, compute: Compute, network: Network) -> None:
        self.learner_config: GradientConfig = config.learner
        self.seed = config.seed
        self.max_steps = config.trainer.max_steps
        self.compute = compute
        self.device = compute.device
        self.network = network
        self.labels = data.train_labels
        self.classes = len(data.classes)
        self.steps = 0
        optimiser = OPTIMISERS[self.learner_config.optimiser]
        self.optimiser = optimiser(
            [w for w in network.parameters() if w.requires_grad], lr=self.learner_config.learning_rate
        )
        self.seen = network.see(data.train_images)
        self.jitter = config.images.jitter
        self.rows = max(len(self.labels) // 8, 1)
        self._tested: tuple[Tensor, list[Features]] | None = None

    def step(self) -> Metrics:
        """One epoch, in an order drawn anew."""
        if self.learner_config.batch is None:
            return self.descend((slice(None),))
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "epoch", self.steps))
        return self.descend(torch.split(send(order, self.device), self.learner_config.batch))

    def descend(self, batches: Sequence[Rows]) -> Metrics:
        """One update a batch of training images."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate
        loss = torch.zeros((), device=self.device)
        right = torch.zeros((), device=self.device)
        largest = torch.zeros((), device=self.device)
        images = 0
        for i, batch in enumerate(batches):
            labels = self.labels[batch]
            images += len(labels)
            seen = take(self.seen, batch)
            if self.jitter:
                assert isinstance(seen, Tensor)
                seen = jittered(seen, self.jitter, generator(self.seed, f"jitter {i}", self.steps))
            logits = self.network(seen)
            self.optimiser.zero_grad()
            # The sum over networks of each one's mean: no network feels the others.
            losses = cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none")
            (losses.sum() / len(labels)).backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            with torch.no_grad():
                loss += losses.sum() / len(logits)
                right += (logits.argmax(dim=2) == labels).sum() / len(logits)
                largest = torch.maximum(largest, logits.abs().max())
        self.steps += 1
        size, lost, answered = torch.stack([largest, loss, right]).tolist()  # here a GPU is waited for
        return {
            "logits/largest": size,
            "train/loss": lost / images,
            "train/accuracy": answered / images,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
        }

    @property
    def learning_rate(self) -> float:
        """The size of an update now."""
        rate, decay = self.learner_config.learning_rate, self.learner_config.decay
        return annealed(rate, decay, self.steps, self.max_steps)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """``[M, B, C]`` for block after block of images."""
        blocks = torch.split(images, self.rows)
        for i, seen in enumerate(self._seen(images, blocks)):
            start = i * self.rows
            yield slice(start, start + len(blocks[i])), self.network(seen)

    def _seen(self, images: Tensor, blocks: tuple[Tensor, ...]) -> Iterator[Features]:
        """What the network sees of the test images: kept if it fits in the memory, else computed again."""
        if self._tested is not None and self._tested[0] is images:
            yield from self._tested[1]
            return
        kept: list[Features] | None = []
        for block in blocks:
            seen = self.network.see(block)
            yield seen
            fits = _bytes(seen) * (len(blocks) - len(kept or ())) <= free_memory(self.device) * MEMORY_SHARE
            kept = [*kept, seen] if kept is not None and fits else None
        self._tested = (images, kept) if kept is not None else None

    def answers(self, images: Tensor) -> Tensor:
        """``[M, B]``: which class each network takes each image for."""
        return self.answers_at(
            self.steps, images, lambda: torch.cat([logits.argmax(dim=2) for _, logits in self.logits(images)], dim=1)
        )

    def accuracies(self, images: Tensor, labels: Tensor) -> Tensor:
        """``[M]``: the share of images that each network gets right."""
        return (self.answers(images) == labels).double().mean(dim=1)

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Test accuracy; of several networks, mean and sd."""
        accuracies = self.accuracies(images, labels)
        return {"test/accuracy": float(accuracies.mean())} | (
            {"test/accuracy_sd": float(accuracies.std())} if len(accuracies) > 1 else {}
        )

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """Test accuracy, and that of each network where there are several."""
        accuracies = self.accuracies(images, labels)
        of_each = {"networks": accuracies.tolist()} if len(accuracies) > 1 else {}
        return {"test_accuracy": float(accuracies.mean()), **of_each}

    def confusion(self, images: Tensor, labels: Tensor) -> Tensor:
        """Averaged over the networks."""
        answers = self.answers(images)
        return tally(labels, answers, self.classes) / len(answers)

    def as_module(self) -> nn.Module:
        """The network; of several, the first."""
        return self.network.as_module()

    def histograms(self) -> dict[str, Tensor]:
        """The weights."""
        return {f"weights/{name}": tensor for name, tensor in self.network.state_dict().items()}

    def figures(self, images: Tensor, labels: Tensor) -> "Iterator[tuple[str, Figure]]":
        """The confusion matrix, averaged over the networks."""
        from nne.training.logging import figures

        yield "confusion", figures.confusion(self.confusion(images, labels), f"After {self.steps} {self.step_name}s")

    def state_dict(self) -> State:
        """Weights, and what the optimiser remembers of each."""
        memory = self.optimiser.state_dict()["state"]
        return {
            "steps": torch.tensor(self.steps),
            **{f"network/{name}": tensor.detach() for name, tensor in self.network.state_dict().items()},
            **{f"optimiser/{i}/{k}": v for i, of in memory.items() for k, v in of.items() if isinstance(v, Tensor)},
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved step."""
        network = {k.removeprefix("network/"): v for k, v in state.items() if k.startswith("network/")}
        check_state(network, self.network.state_dict(), "another network")
        self.network.load_state_dict(network)
        self.steps = int(state["steps"])
        self._last_answers = None
        memory: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            if name.startswith("optimiser/"):
                _, i, key = name.split("/")
                memory.setdefault(int(i), {})[key] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": memory})


def _bytes(seen: Features) -> int:
    parts = (seen.units, seen.h) if isinstance(seen, SparseFeatures) else (seen,)
    return sum(part.nbytes for part in parts)
