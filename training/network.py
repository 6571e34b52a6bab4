"""The network that evolution and gradient descent share: a sparse random input->hidden graph, a full output layer.

``SparseNetwork`` is the same graph with weights that gradients can train, for the baseline of Table 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.seeding import generator


@dataclass(frozen=True)
class Topology:
    """The links of a ``inputs - hidden - classes`` network; edges are sorted by hidden unit, then by input pixel.

    ``unit, pixel: [m1]`` the ends of each edge. A link is one of the ``m1`` edges, or one of the
    ``hidden * classes`` output weights, which follow them.
    """

    inputs: int
    hidden: int
    classes: int
    unit: Tensor
    pixel: Tensor

    @property
    def links(self) -> int:
        """``m``, the number of weights."""
        return len(self.unit) + self.hidden * self.classes


def sparse_topology(inputs: int, hidden: int, classes: int, edge_probability: float, seed: int) -> Topology:
    """Each input->hidden edge is there with probability ``edge_probability``, independently (Sec. 3.1)."""
    present = torch.rand(hidden, inputs, generator=generator(seed, "edges")) < edge_probability
    unit, pixel = present.nonzero(as_tuple=True)
    return Topology(inputs, hidden, classes, unit, pixel)


def uniform(shape: tuple[int, ...], bound: float, stream: torch.Generator) -> Tensor:
    """Uniform in ``[-bound, bound]``, float32."""
    return (torch.rand(shape, generator=stream) * 2 - 1) * bound


class SparseNetwork(nn.Module):
    """784 - hidden ReLU - classes softmax on a sparse graph, with every weight to be trained.

    Weights begin as Kaiming uniform for the edges that a unit has on average, the output layer uniform within
    ``1 / sqrt(hidden)``. Edges that do not exist are held at zero.
    """

    present: Tensor

    def __init__(self, topology: Topology, seed: int) -> None:
        super().__init__()
        stream = generator(seed, "initial weights")
        shape = topology.hidden, topology.inputs
        present = torch.zeros(shape).index_put((topology.unit, topology.pixel), torch.ones(()))
        fan_in = max(len(topology.unit) / topology.hidden, 1.0)
        self.register_buffer("present", present, persistent=False)
        self.edges = nn.Parameter(uniform(shape, (6 / fan_in) ** 0.5, stream) * present)
        self.outputs = nn.Parameter(uniform((topology.hidden, topology.classes), topology.hidden**-0.5, stream))

    def see(self, images: Tensor) -> Tensor:
        """Nothing is fixed here: the images themselves."""
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[1, B, C]`` of images ``[B, inputs]``."""
        hidden = torch.relu(images @ (self.edges * self.present).T)
        return (hidden @ self.outputs)[None]
