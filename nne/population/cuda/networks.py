"""The populations that the CUDA kernels evaluate: networks of one hidden layer, without a cap, in bfloat16 on a GPU."""

import math

import torch
from torch import Tensor

from nne.fitness import reward
from nne.population.base import MEMORY_SHARE, SparseNetworks, Tiling
from nne.population.cuda import genotypes
from nne.population.cuda.fused import GROUP, QUAD, STEP, Fused, Sizes
from nne.population.layout import in_steps
from nne.population.weights import WeightMatrix
from nne.training.device import total_memory
from nne.training.models.network import Topology

FILLED = 128  # images that rows of pixels are filled up to


class CudaPopulation(SparseNetworks):
    """The networks of ``nne.population.torch.Population``, by the kernels of ``networks.cu``.

    Args:
        topology, W, seen, device: as there; one hidden layer, and ``g`` the identity or relu.

    Raises:
        UserError: those of genotypes cannot be compiled, or the network does not fit into the GPU's shared memory.
    """

    backend = "cuda"

    def __init__(self, topology: Topology, W: WeightMatrix, seen: Tensor, device: torch.device) -> None:
        self.topology = topology
        self.whole = W
        self.cap = None
        self.device = device
        self.dtype = torch.bfloat16
        self.classes = topology.classes
        self.seen = seen.nonzero()[:, 0].to(device)
        slots, place, first = in_steps(topology, seen.cpu(), STEP)
        ends = torch.cat([first[::QUAD], first[-1:]])
        sizes = Sizes(len(self.seen) + 1, topology.classes, max(int(ends.diff().max()), 1))
        genotypes.load(device)
        self.kernels = Fused(sizes, first, place, device)
        memory = int(total_memory(device) * MEMORY_SHARE)
        of_weights = len(slots) * 4
        most = max(memory // (of_weights * GROUP), 1) * GROUP
        gathered = max(memory // (2 * sizes.rows * FILLED), 1) * FILLED
        self.tiling = Tiling(min(most, 2048), min(gathered, 2**14))
        self.block = GROUP
        self.rows = W.rows(slots)
        self.use(self.rows)

    def use(self, W: WeightMatrix) -> None:
        """Express genotypes by this matrix."""
        self.W = W.to(self.device, torch.float32)

    def gather(self, images: Tensor) -> tuple[Tensor, int]:
        """Pixels by image, ``[pixels + 1, B filled up]``, whose last row is zero; and ``B``."""
        B = len(images)
        pixels = torch.zeros(len(self.seen) + 1, -(-B // FILLED) * FILLED, dtype=torch.bfloat16, device=self.device)
        pixels[:-1, :B] = self.topology.see(images)[:, self.seen].T.to(torch.bfloat16)
        return pixels, B

    def logits(self, x: Tensor, seen: tuple[Tensor, int]) -> Tensor:
        """One tile of genotypes ``x: [N, n]`` bool: ``[N, C, B]`` float32."""
        pixels, B = seen
        return self.kernels.logits(self._express(x), len(x), pixels, B)

    def rewards(self, x: Tensor, seen: tuple[Tensor, int], labels: Tensor, temperature: float) -> Tensor:
        """``[N]`` float64: the rewards of one tile, added up over images."""
        return self.evaluated(self._express(x), len(x), seen, labels, temperature)

    def evaluated(
        self, weights: tuple[Tensor, Tensor], N: int, seen: tuple[Tensor, int], labels: Tensor, temperature: float
    ) -> Tensor:
        """The rewards of ``N`` genotypes that are expressed as ``weights``."""
        pixels, B = seen
        if self.kernels.shape(N, B).parts > 1:  # no block has the whole logits
            logits = self.kernels.logits(weights, N, pixels, B)
            return reward(logits, labels, temperature).sum(dim=1, dtype=torch.float64)
        ceiling = math.log(self.classes) ** 2
        return self.kernels.rewards(weights, N, pixels, labels, temperature, ceiling).double().sum(dim=0)

    def _express(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.kernels.express(x, self.W, rectified=self.W.g is torch.relu_)
