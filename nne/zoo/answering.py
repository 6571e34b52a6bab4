"""What learners of the zoo have in common: a class that each image is taken for."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from nne.training.learner import Learner, Metrics, tally

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Answering(Learner):
    """Says one class for each image, after so many epochs (``epoch``)."""

    classes: int
    epoch: int
    step_name = "epoch"
    step_names: ClassVar[str] = "epochs"

    @abstractmethod
    def answers(self, images: Tensor) -> Tensor:
        """``[B]``: which class each of some images is taken for."""

    def evaluate(self, images: Tensor, labels: Tensor) -> Metrics:
        """Test accuracy."""
        return {"test/accuracy": float((self.answers(images) == labels).double().mean())}

    def confusion(self, images: Tensor, labels: Tensor) -> Tensor:
        """Of the answers, ``[C, C]``."""
        return tally(labels, self.answers(images), self.classes)

    def figures(self, images: Tensor, labels: Tensor) -> "Iterator[tuple[str, Figure]]":
        """The confusion matrix."""
        from nne.training.logging import figures

        yield "confusion", figures.confusion(self.confusion(images, labels), f"After {self.epoch} {self.step_names}")
