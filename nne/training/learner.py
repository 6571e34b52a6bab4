"""What the trainer knows of a learner, and nothing more. Evolution, dopamine and gradient descent all fit."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

from nne.training.device import Compute

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Metrics = dict[str, float]
State = dict[str, Tensor]


class Learner(Protocol):
    """Something that learns in steps and can be saved between any two of them."""

    compute: Compute
    """What it computes on, and how."""
    step_name: str
    """What one step is called: ``generation``, ``epoch``."""
    headline: str
    """The metric of ``evaluate`` that a progress bar shows."""
    result: str
    """The figure of ``summary`` that a run is judged by."""
    charts: ClassVar[dict[str, list[str]]]
    """Metrics that belong on one chart, by the chart's title: what a dashboard opens on."""

    def step(self) -> Metrics:
        """Learn for one step; what there is to log about it."""

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Quick figures on ``images: [B, 784]``, ``labels: [B]``; accuracies as ``test/...`` fractions."""

    def summary(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """The final figures, ``result`` among them, as they go into ``summary.json``."""

    def reason_to_stop(self) -> str | None:
        """Why there is nothing left to learn, if so."""

    def histograms(self) -> dict[str, Tensor]:
        """What a dashboard may show as distributions."""

    def confusion(self, images: Tensor, labels: Tensor) -> Tensor:
        """How often an image of the row's class is called the column's: ``[C, C]``."""

    def as_module(self) -> nn.Module:
        """The network as it is now, from images ``[B, 784]`` to logits ``[B, C]``; of several, one.

        Raises ``UserError`` where there is none.
        """

    def figures(self, images: Tensor, labels: Tensor) -> "Iterator[tuple[str, Figure]]":
        """Named pictures of the state."""

    def state_dict(self) -> State:
        """Everything that changes from step to step, as tensors."""

    def load_state_dict(self, state: State) -> None:
        """Go back to a saved state; raises ``UserError`` if it belongs to another network."""


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
