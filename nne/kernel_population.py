"""The populations that the C++ kernel evaluates: networks of one hidden layer, without a cap, on a CPU."""

import torch
from torch import Tensor

from nne import kernel
from nne.expression import WeightMatrix
from nne.population import MEMORY_SHARE, Networks, Population, Tiling
from training.device import total_memory
from training.errors import require
from training.network import Edges, Topology

TILING = Tiling(genotypes=1024, images=64, units=8, gathered=512)
CPU = torch.device("cpu")


class KernelPopulation(Networks):
    """What ``nne.population.Population`` is, for genotypes alone; ``of_frequencies`` takes allele frequencies too.

    Args:
        topology, W, seen: as there; ``g`` is the identity or relu.
    """

    def __init__(self, topology: Topology, W: WeightMatrix, seen: Tensor) -> None:
        self._of_frequencies = Population(topology, W, seen, CPU, torch.float32)
        self.device, self.dtype = CPU, torch.float32
        self.tiling = TILING.within(W.n, 1, int(total_memory(CPU) * MEMORY_SHARE))
        first = topology.first
        require(first.sources < 2**16, f"the C++ kernel takes at most {2**16 - 1} inputs; use backend=torch")
        edge = seen.cpu()[first.source].nonzero()[:, 0]
        self.layer = Edges(first.units, first.sources, first.unit[edge], first.source[edge])
        self.edges, self.classes = kernel.by_pixel(self.layer), topology.classes
        self.rows = W.rows(torch.cat([edge, torch.arange(topology.edges, topology.links)]))
        self.use(self.rows)

    @property
    def of_frequencies(self) -> Networks:
        """The same networks by PyTorch."""
        return self._of_frequencies

    def use(self, W: WeightMatrix) -> None:
        """Express genotypes by this matrix."""
        self.network = kernel.KernelNetwork(self.layer, self.edges, W, self.classes)

    def gather(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which edges see what."""
        return self.network.look(images.float().contiguous())

    def logits(self, x: Tensor, seen: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """One tile of genotypes ``x: [N, n]`` bool: ``[N, C, B]`` float32."""
        return self.network.logits(x, *seen)
