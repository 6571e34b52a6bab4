"""PEPITA (Dellaferrera and Kreiman 2022, arXiv 2201.11665): the image is presented twice.

The error ``e = z - l`` of the first pass changes the image, ``x~ = x - F e`` with a fixed random ``F``; what differs in
the second pass, ``h~``, is what layers learn from::

    W_1 -= rate (h_1 - h~_1) x~^T
    W_i -= rate (h_i - h~_i) h~_{i-1}^T
    W_L -= rate e h~_{L-1}^T

(The authors add the error; the sign of a random ``F`` does not matter.)
"""

from torch import Tensor

from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.zoo.config import PepitaConfig
from nne.zoo.layers import Layers, Need, outer, random_like


class Pepita(Layers):
    """Learns from the difference of two passes."""

    needs = frozenset({Need.ERROR, Need.SECOND_PASS})

    def __init__(self, config: Config, data: Dataset, compute: Compute) -> None:
        super().__init__(config, data, compute)
        rule: PepitaConfig = config.learner
        F = self.weights[0].new_empty(self.classes, self.images.shape[1])
        spread = rule.scale * (2 * self.classes / self.images.shape[1]) ** 0.5
        self.memory = {"feedback": random_like(F, config.seed, "feedback") * spread}

    def changes(self, images: Tensor, labels: Tensor, step: int) -> tuple[list[Tensor], Tensor]:
        """As above."""
        *h, logits = self.forward(images)
        e = logits.softmax(dim=1) - self.label(labels)
        changed = images - e @ self.memory["feedback"]
        *second, _ = self.forward(changed)
        differences = [first - again for first, again in zip(h, second, strict=True)]
        below = [changed, *second]
        return [outer(delta, seen) for delta, seen in zip([*differences, e], below, strict=True)], logits
