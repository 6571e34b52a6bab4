"""What the trainer knows of a learner, and nothing more. Evolution, dopamine and gradient descent all are one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from nne.training.device import Compute
from nne.training.errors import UserError, require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Metrics = dict[str, float]
State = dict[str, Tensor]


class Learner(ABC):
    """Something that learns in steps and can be saved between any two of them.

    A new one is ``step``, ``evaluate`` and a state; the rest has defaults.
    """

    compute: Compute
    """What it computes on, and how."""
    step_name: ClassVar[str] = "step"
    """What one step is called: ``generation``, ``epoch``."""
    headline: ClassVar[str] = "test/accuracy"
    """The figure of ``evaluate`` that a progress bar shows."""
    result: ClassVar[str] = "test_accuracy"
    """The figure of ``summary`` that a run is judged by."""
    module_figure: ClassVar[str] = "test/accuracy"
    """The figure of ``evaluate`` that ``as_module`` reaches."""
    charts: ClassVar[dict[str, list[str]]] = {"accuracy": ["test/accuracy"]}
    """Metrics that belong on one chart, by the chart's title: what a dashboard opens on."""

    _last_answers: tuple[int, Tensor, Tensor] | None = None

    @abstractmethod
    def step(self) -> Metrics:
        """Learn for one step; what there is to log about it."""

    @abstractmethod
    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Quick figures on any images ``[B, inputs]`` with labels ``[B]``; accuracies as ``test/...`` fractions."""

    @abstractmethod
    def state_dict(self) -> State:
        """Everything that changes from step to step, as tensors."""

    @abstractmethod
    def load_state_dict(self, state: State) -> None:
        """Go back to a saved state; raises ``UserError`` if it belongs to another network."""

    def answers_at(self, step: int, images: Tensor, answer: Callable[[], Tensor]) -> Tensor:
        """``answer()``, which is not computed again for the same images at the same step."""
        if self._last_answers is None or self._last_answers[0] != step or self._last_answers[1] is not images:
            self._last_answers = step, images, answer()
        return self._last_answers[2]

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """The final figures, ``result`` among them, as they go into ``summary.json``: by default the headline."""
        return {self.result: self.evaluate(images, labels)[self.headline]}

    def last_point(self, images: Tensor, labels: Tensor, measured: dict[str, Any]) -> Metrics:
        """The last point of every curve of ``evaluate``: its headline is what ``summary`` has just ``measured``."""
        return {**self.evaluate(images, labels), self.headline: measured[self.result]}

    def reason_to_stop(self) -> str | None:
        """Why there is nothing left to learn, if so: by default only the trainer's limits end a run."""
        return None

    def histograms(self) -> dict[str, Tensor]:
        """What a dashboard may show as distributions: by default nothing."""
        return {}

    def figures(self, images: Tensor, labels: Tensor) -> "Iterable[tuple[str, Figure]]":
        """Named pictures of the state: by default none."""
        return ()

    def confusion(self, images: Tensor, labels: Tensor) -> Tensor:
        """How often an image of the row's class is called the column's, ``[C, C]``: by default of ``as_module``.

        Raises:
            UserError: there are no classes.
        """
        logits: Tensor = self.as_module()(images.cpu())
        return tally(labels.cpu(), logits.argmax(dim=1), logits.shape[1])

    def as_module(self) -> nn.Module:
        """The network as it is now, from images ``[B, inputs]`` to logits ``[B, C]``; of several, one.

        Raises:
            UserError: there is none, as by default.
        """
        raise UserError(f"{type(self).__name__} gives no network of its own (as_module): it cannot be exported")


def tally(labels: Tensor, answers: Tensor, classes: int) -> Tensor:
    """How often each of ``labels: [B]`` was called what, ``[classes, classes]``; ``answers: [B]``, or ``[..., B]``."""
    return torch.bincount((labels * classes + answers).flatten(), minlength=classes**2).view(classes, classes)


def check_state(state: State, current: State, kind: str) -> None:
    """Raise ``UserError`` unless a saved state has the names and shapes of the ``current`` one."""
    fits = state.keys() == current.keys() and all(state[name].shape == current[name].shape for name in current)
    require(fits, f"the checkpoint is of {kind}: it is from another kind of run")


def annealed(rate: float, decay: str, step: int, limit: int | None) -> float:
    """``rate`` as it is, or (``decay="linear"``) falling to zero at step ``limit``."""
    return rate if decay == "none" or limit is None else rate * max(1 - step / limit, 0.0)


def is_milestone(step: int) -> bool:
    """1, 3, 10, 30, 100, 300 ...: when pictures are taken."""
    return str(step).rstrip("0") in ("1", "3")


def is_sampled(step: int, digits: int) -> bool:
    """Whether a step has so few significant digits: every step at first, then ever fewer, 9 * 10^(digits - 1) a decade.

    What is kept of those alone stays small however long a run is.
    """
    return len(str(step).rstrip("0")) <= digits


def shown(name: str, value: float) -> str:
    """A figure as people read it: an accuracy in %, anything else as a number."""
    return f"{value:.2%}" if name.startswith("test") else f"{value:.4f}"
