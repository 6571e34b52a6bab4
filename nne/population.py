"""Evaluating a population: one contraction of genotypes x sparse W x images.

For a tile of ``N`` genotypes the weights ``W x`` are made link by link, in the order of the layout by hidden unit;
then, block of units by block of units,

    hidden [units, N, B]  = relu( weights [units, K, N]^T  @  pixels [units, K, B] )
    above  [N, C, B]     += weights [N, C, units] @ hidden

where the layer above is the output layer, or a second hidden layer. So the hidden layer of the population never exists
as a whole: memory is flat in the number of individuals and of images. (A cap has to see a whole layer, of one tile and
one chunk of images.) ``tests/test_network.py`` holds this against a plain dense float64 network.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nne.expression import WeightMatrix
from nne.fitness import reward
from nne.layout import ABSENT, by_hidden_unit
from training.device import total_memory
from training.errors import require
from training.network import Topology, fire
from training.plain import layered

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tiling:
    """How much is computed at once, and the most images that are laid out (gathered) at once."""

    genotypes: int
    images: int
    units: int
    gathered: int

    def within(self, slots: int, bytes_each: int, memory: int) -> "Tiling":
        """Smaller where the weights of a tile, or the gathered pixels, would take more than ``memory`` bytes."""
        most = max(memory // (slots * bytes_each), 1)
        return replace(self, genotypes=min(self.genotypes, most), gathered=min(self.gathered, most))

    def halved(self, error: Exception) -> "Tiling":
        """For half as many genotypes, because so many did not fit.

        Raises:
            UserError: it was one.
        """
        require(self.genotypes > 1, f"one individual does not fit into the memory ({error})")
        log.warning("out of memory: from now on %d genotypes at once, not %d", self.genotypes // 2, self.genotypes)
        return replace(self, genotypes=self.genotypes // 2)


TILING = {  # for a core's cache, and for a full grid
    "cpu": Tiling(genotypes=64, images=128, units=100, gathered=2048),
    "cuda": Tiling(genotypes=512, images=2048, units=50, gathered=2048),
}
MEMORY_SHARE = 1 / 16  # of the device's memory, for weights and again for gathered pixels


class Networks(ABC):
    """The networks of all genotypes, evaluated tile by tile."""

    tiling: Tiling
    block: int
    """Individuals that are evaluated together: shares of several workers are cut between these, and no bit differs."""
    classes: int
    device: torch.device
    dtype: torch.dtype
    rows: WeightMatrix
    """``W``, row by row as it is used, in full precision."""

    @abstractmethod
    def gather(self, images: Tensor) -> Any:
        """What all genotypes share of some images ``[B, inputs]``."""

    @abstractmethod
    def logits(self, x: Tensor, seen: Any) -> Tensor:
        """One tile of genotypes ``x: [N, n]`` on gathered images: ``[N, C, B]`` float32."""

    @abstractmethod
    def use(self, W: WeightMatrix) -> None:
        """Express genotypes by this matrix from now on: ``rows``, or ``rows`` for fewer genes."""

    @abstractmethod
    def written_out(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The networks of a few rows ``x: [k, n]``, which may be allele frequencies too, in full.

        They take images ``[B, inputs]`` to logits ``[k, C, B]`` float32.
        """

    @abstractmethod
    def as_module(self, x: Tensor) -> nn.Module:
        """The network of one genotype ``x: [n]``, or of allele frequencies, as plain PyTorch."""

    def fold(self, p: Tensor, free: Tensor) -> None:
        """From now on, genotypes are of the ``free`` genes alone (indices); the others stay as they are in ``p``."""
        self.use(self.rows.folded(p.cpu(), free.cpu()))

    def tiles(self, individuals: range) -> Iterator[range]:
        """Some individuals, as many at once as are evaluated together."""
        for start in range(individuals.start, individuals.stop, self.tiling.genotypes):
            yield range(start, min(start + self.tiling.genotypes, individuals.stop))

    def rewards(self, x: Tensor, seen: Any, labels: Tensor, temperature: float) -> Tensor:
        """``[N]`` float64: the rewards (``nne.fitness.reward``) of one tile, added up over gathered images."""
        return reward(self.logits(x, seen), labels, temperature).sum(dim=1, dtype=torch.float64)

    def evaluate(
        self,
        genotypes: Callable[[range], Tensor],
        individuals: range,
        images: Tensor,
        find: Callable[[Tensor, Any, slice], Tensor] | None = None,
    ) -> Iterator[tuple[range, slice, Tensor]]:
        """Run individuals over images, tile by tile.

        Args:
            genotypes: gives ``x: [len(tile), n]`` bool for a range of individuals.
            individuals: which.
            images: ``[B, inputs]``.
            find: what to compute from a tile of genotypes, gathered images, and which images these are; by default
                their logits ``[N, C, B]`` float32.

        Yields:
            A range of individuals, a slice of images, and what was computed.
        """
        for start in range(0, len(images), self.tiling.gathered):
            part = slice(start, min(start + self.tiling.gathered, len(images)))
            pixels, first = self.gather(images[part]), individuals.start
            while first < individuals.stop:
                tile = range(first, min(first + self.tiling.genotypes, individuals.stop))
                try:
                    x = genotypes(tile)
                    found = find(x, pixels, part) if find else self.logits(x, pixels)
                except torch.OutOfMemoryError as error:
                    self.tiling = self.tiling.halved(error)
                    continue
                yield tile, part, found
                first = tile.stop


class SparseNetworks(Networks):
    """A shared topology, and weights that are a function ``g(W x)`` of the genes: ``W`` is ``whole: [m, n]``."""

    topology: Topology
    whole: WeightMatrix
    cap: int | None

    def written_out(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """As full matrices, with zeros for absent links."""
        weights = self.whole.weights(x.cpu()).T.float()
        *hidden, outputs = (matrix.to(self.device) for matrix in self.topology.matrices(weights))

        def logits(images: Tensor) -> Tensor:
            h = images.T.expand(len(x), -1, -1)
            for matrix in hidden:
                h = fire(matrix @ h, self.cap, dim=1)
            return outputs @ h

        return logits

    def as_module(self, x: Tensor) -> nn.Module:
        """Full matrices, layer by layer."""
        weights = self.whole.weights(x[None].cpu()).T.float()
        return layered((matrix[0] for matrix in self.topology.matrices(weights)), self.cap)


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
        self.topology, self.whole = topology, W
        self.classes, self.cap = topology.classes, cap
        self.device, self.dtype = device, dtype
        self.blocks, self.above = [block.to(device) for block in layout.blocks], layout.above
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
        columns = torch.cat([images.T, images.new_zeros(1, len(images))]).to(self.dtype)
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
