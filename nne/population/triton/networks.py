"""The populations that the Triton kernels evaluate: networks of one hidden layer, without a cap, on a GPU."""

import math

import torch
from torch import Tensor

from nne.population.base import MEMORY_SHARE, SparseNetworks, Tiling
from nne.population.layout import in_chunks
from nne.population.triton import fused
from nne.population.weights import WeightMatrix
from nne.training.device import total_memory
from nne.training.models.network import Topology


class FusedPopulation(SparseNetworks):
    """The networks of ``nne.population.base.Population``, by the fused kernels.

    Args:
        topology, W, seen, device: as there; one hidden layer, and ``g`` the identity or relu.
        dtype: of weights and pixels; sums are float32. bfloat16 multiplies on tensor cores.
    """

    def __init__(
        self, topology: Topology, W: WeightMatrix, seen: Tensor, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.kernels = fused.kernels()
        self.topology = topology
        self.whole = W
        self.cap = None
        self.device = device
        self.dtype = dtype
        self.classes = topology.classes
        slots, source, first = in_chunks(topology, seen.cpu(), self.kernels.CHUNK)
        self.source = source.int().to(device)
        self.first = first.int().to(device)
        self.block = self.kernels.BN
        memory = int(total_memory(device) * MEMORY_SHARE)
        most = max(memory // (len(slots) * dtype.itemsize * self.block), 1) * self.block
        gathered = max(memory // (dtype.itemsize * (topology.first.sources + 1)), 1)
        self.tiling = Tiling(min(most, 1024), self.kernels.BB, topology.first.units, min(gathered, 2**14))
        self.rows = W.rows(slots)
        self.use(self.rows)

    def use(self, W: WeightMatrix) -> None:
        """Express genotypes by this matrix."""
        self.W = W.to(self.device, torch.float32)

    def gather(self, images: Tensor) -> Tensor:
        """Pixels by image, ``[inputs + 1, B]``: the last row is zero."""
        return torch.cat([images.T, images.new_zeros(1, len(images))]).to(self.dtype).contiguous()

    def express(self, x: Tensor) -> Tensor:
        """Weights ``[slots, N]`` of genotypes ``x: [N, n]`` bool."""
        genotypes, slots = x.T.contiguous().view(torch.int8), len(self.W.offsets) - 1
        weights = torch.empty(slots, len(x), dtype=self.dtype, device=self.device)
        given = genotypes, self.W.offsets, self.W.genes, self.W.values, weights, len(x)
        rectified = self.W.g is torch.relu_
        self.kernels.express[slots, -(-len(x) // fused.BLOCK)](*given, RECTIFIED=rectified, BLOCK=fused.BLOCK)
        return weights

    def logits(self, x: Tensor, pixels: Tensor) -> Tensor:
        """One tile of genotypes ``x: [N, n]`` bool: ``[N, C, B]`` float32."""
        logits = torch.empty(len(x), self.classes, pixels.shape[1], device=self.device)
        labels = torch.zeros(pixels.shape[1], dtype=torch.int64, device=self.device)
        self._evaluate(x, pixels, labels, logits, 1.0, reward=False)
        return logits

    def rewards(self, x: Tensor, pixels: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """``[N]`` float64: the rewards of one tile, added up over images."""
        parts = torch.empty(-(-pixels.shape[1] // self.kernels.BB), len(x), device=self.device)
        self._evaluate(x, pixels, labels, parts, temperature, reward=True)
        return parts.double().sum(dim=0)

    def _evaluate(
        self, x: Tensor, pixels: Tensor, labels: Tensor, out: Tensor, temperature: float, *, reward: bool
    ) -> None:
        kernels, N, B = self.kernels, len(x), pixels.shape[1]
        grid = -(-N // kernels.BN), -(-B // kernels.BB)
        arrays = self.express(x), self.first, self.source, pixels, labels, out
        sizes = N, B, self.topology.first.units, float(temperature), math.log(self.classes) ** 2
        shape = {"C": self.classes, "CHUNK": kernels.CHUNK, "BN": kernels.BN, "BB": kernels.BB}
        modes = {"REWARD": reward, "WIDEN": self.device.type == "cpu"}
        kernels.evaluate[grid](*arrays, *sizes, **shape, **modes, num_warps=kernels.WARPS)
