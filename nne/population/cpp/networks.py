"""The populations that the C++ kernel evaluates: networks of one hidden layer, without a cap, on a CPU."""

import torch
from torch import Tensor

from nne.population.base import MEMORY_SHARE, SparseNetworks, Tiling
from nne.population.cpp import kernel
from nne.population.weights import WeightMatrix
from nne.training.device import total_memory
from nne.training.models.network import Edges, Topology

LANES = 128  # a multiple of those of kernel.cpp, whatever the vectors
CPU = torch.device("cpu")


class KernelPopulation(SparseNetworks):
    """The networks of ``nne.population.torch.Population``, by the kernel.

    Args:
        topology, W, seen: as there; one hidden layer, and ``g`` the identity or relu.
    """

    backend = "cpp"

    def __init__(self, topology: Topology, W: WeightMatrix, seen: Tensor) -> None:
        self.topology = topology
        self.whole = W
        self.cap = None
        self.device = CPU
        self.dtype = torch.float32
        self.block = LANES
        first = topology.first
        edge = seen.cpu()[first.source].nonzero()[:, 0]
        self.layer = Edges(first.units, first.sources, first.unit[edge], first.source[edge])
        memory = int(total_memory(CPU) * MEMORY_SHARE)
        self.tiling = Tiling(
            genotypes=min(1024, max(memory // W.n // LANES, 1) * LANES),
            gathered=min(512, max(memory // (8 * len(edge) + 1), 1)),
        )
        self.classes = topology.classes
        self.rows = W.rows(torch.cat([edge, torch.arange(topology.edges, topology.links)]))
        self.use(self.rows)

    def use(self, W: WeightMatrix) -> None:
        """Express genotypes by this matrix."""
        self.network = kernel.KernelNetwork(self.layer, W, self.classes)

    def gather(self, images: Tensor) -> kernel.Seen:
        """Which edges see what."""
        return self.network.build_index(self.topology.see(images).float().contiguous())

    def logits(self, x: Tensor, seen: kernel.Seen) -> Tensor:
        """One tile of genotypes ``x: [N, n]`` bool: ``[N, C, B]`` float32."""
        return self.network.logits(x, seen)

    def rewards(self, x: Tensor, seen: kernel.Seen, labels: Tensor, temperature: float) -> Tensor:
        """``[N]`` float64, without any logits being written down."""
        return self.network.rewards(x, seen, labels, temperature)
