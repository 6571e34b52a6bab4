"""Evaluating a population: one contraction of genotypes x sparse W x images.

For a tile of ``N`` genotypes the weights ``W x`` are made link by link, in the order of the layout by hidden unit;
then, block of units by block of units,

    hidden [units, N, B]  = relu( weights [units, K, N]^T  @  pixels [units, K, B] )
    above  [N, C, B]     += weights [N, C, units] @ hidden

where the layer above is the output layer, or a second hidden layer. So the hidden layer of the population never exists
as a whole: memory is flat in the number of individuals and of images. (A cap has to see a whole layer, of one tile and
one chunk of images.) ``tests/population/test_torch.py`` holds this against a plain dense float64 network.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from nne.population.base import MEMORY_SHARE, SparseNetworks, Tiling
from nne.population.layout import ABSENT, by_hidden_unit
from nne.population.weights import WeightMatrix
from nne.training.device import total_memory
from nne.training.models.network import Topology, fire

TILING = {  # for a core's cache, and for a full grid
    "cpu": Tiling(genotypes=64, gathered=2048, images=128, units=100),
    "cuda": Tiling(genotypes=512, gathered=2048, images=2048, units=50),
}


class Population(SparseNetworks):
    """Sparse networks, evaluated by products of PyTorch.

    Args:
        topology: who is linked to whom.
        W: the weight generation matrix, ``[m, n]``.
        seen: ``[inputs]`` bool, the pixels that are non-zero in some image this will be given.
        device, dtype: where and in what precision; float32, or bfloat16 (sums are float32).
        cap: how many units of each hidden layer may fire.
    """

    def __init__(
        self,
        topology: Topology,
        W: WeightMatrix,
        seen: Tensor,
        device: torch.device,
        dtype: torch.dtype,
        cap: int | None = None,
    ) -> None:
        tiling = TILING[device.type]
        layout = by_hidden_unit(topology, seen.cpu(), tiling.units)
        self.tiling = tiling.within(len(layout.slots), dtype.itemsize, int(total_memory(device) * MEMORY_SHARE))
        self.block = self.tiling.genotypes
        self.topology = topology
        self.whole = W
        self.classes = topology.classes
        self.cap = cap
        self.device = device
        self.dtype = dtype
        self.blocks = [block.to(device) for block in layout.blocks]
        self.above = layout.above
        self.absent: list[Tensor] = []
        if bool(W.g(torch.zeros(1))):  # as for the sigmoid: a link that does not exist must not weigh g(0)
            cells = torch.split(layout.slots == ABSENT, [rows * columns for rows, columns in self._shapes])
            above = cells[len(self.blocks) :]
            self.absent = [c.view(*s).T.to(device) for c, s in zip(above, self.above, strict=True)]
        self.rows = W.rows(layout.slots)
        self.use(self.rows)

    def use(self, W: WeightMatrix) -> None:
        """Express genotypes by this matrix."""
        self.W = W.to(self.device, self.dtype)

    def gather(self, images: Tensor) -> list[list[Tensor]]:
        """For each chunk of images and each block of units, the inputs of its slots, ``[units, K, B]``."""
        columns = torch.cat([self.topology.see(images).T, images.new_zeros(1, len(images))]).to(self.dtype)
        return [[chunk[pixels] for pixels in self.blocks] for chunk in torch.split(columns, self.tiling.images, dim=1)]

    def logits(self, x: Tensor, pixels: list[list[Tensor]]) -> Tensor:
        """The contraction for one tile of genotypes ``x: [N, n]`` and gathered images: ``[N, C, B]`` float32."""
        weights = self.W.weights(x)
        parts = torch.split(weights, [rows * columns for rows, columns in self._shapes])
        by_unit = [w.view(*block.shape, -1).transpose(1, 2) for w, block in zip(parts, self.blocks, strict=False)]
        if len(pixels) > 1:  # transposed once here, or once in every product
            by_unit = [w.contiguous() for w in by_unit]
        above = [w.view(*s, -1).permute(2, 1, 0) for w, s in zip(parts[len(self.blocks) :], self.above, strict=True)]
        for w, absent in zip(above, self.absent, strict=False):
            w.masked_fill_(absent, 0)
        return torch.cat([self._chunk_logits(by_unit, above, chunk) for chunk in pixels], dim=2)

    @property
    def _shapes(self) -> list[tuple[int, int]]:
        return [*((len(block), block.shape[1]) for block in self.blocks), *self.above]

    def _chunk_logits(self, by_unit: list[Tensor], above: list[Tensor], pixels: list[Tensor]) -> Tensor:
        hidden: Iterable[Tensor] = map(torch.bmm, by_unit, pixels)
        blocks = self.tiling.units
        if self.cap:
            hidden, blocks = (torch.cat(list(hidden)),), len(above[0][0].T)
        z = torch.zeros(len(above[0]), above[0].shape[1], pixels[0].shape[2], device=self.device)
        for w, h in zip(torch.split(above[0], blocks, dim=2), hidden, strict=True):
            z += torch.bmm(w, fire(h, self.cap, dim=0).transpose(0, 1))
        for w in above[1:]:
            z = torch.bmm(w, fire(z, self.cap, dim=1).to(w.dtype)).float()
        return z
