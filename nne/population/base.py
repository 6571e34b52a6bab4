"""What evaluates a population, whatever does the arithmetic: tiles of genotypes on chunks of images."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nne.fitness import reward
from nne.population.weights import EXPRESSIONS, WeightMatrix
from nne.training.errors import require
from nne.training.models.network import Topology, fire
from nne.training.models.plain import layered

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tiling:
    """How much is computed at once: genotypes, and images that are laid out (``gathered``).

    Of these, PyTorch multiplies so many ``images`` and hidden ``units`` at once.
    """

    genotypes: int
    gathered: int
    images: int = 1
    units: int = 1

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
    backend: ClassVar[str] = "torch"
    """What does the arithmetic."""
    static = False
    """Whether a tile on gathered images launches the same kernels whatever the numbers are: a GPU can replay them."""

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
    def dense_forward(self, x: Tensor) -> Callable[[Tensor], Tensor]:
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
        """Some individuals, as many at once as are evaluated together: fewer, once that was too many."""
        first = individuals.start
        while first < individuals.stop:
            tile = range(first, min(first + self.tiling.genotypes, individuals.stop))
            yield tile
            first = tile.stop

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
                    result = find(x, pixels, part) if find else self.logits(x, pixels)
                except torch.OutOfMemoryError as error:
                    self.tiling = self.tiling.halved(error)
                    continue
                yield tile, part, result
                first = tile.stop


class SparseNetworks(Networks):
    """A shared topology, and weights that are a function ``g(W x)`` of the genes: ``W`` is ``whole: [m, n]``."""

    topology: Topology
    whole: WeightMatrix
    cap: int | None

    @property
    def static(self) -> bool:  # type: ignore[override]
        """A ``g`` of one's own may do anything."""
        return self.whole.g in EXPRESSIONS.values()

    def dense_forward(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """As full matrices, with zeros for absent links."""
        weights = self.whole.weights(x.cpu()).T.float()
        *hidden, outputs = (matrix.to(self.device) for matrix in self.topology.matrices(weights))

        def logits(images: Tensor) -> Tensor:
            h = self.topology.see(images).T.expand(len(x), -1, -1)
            for matrix in hidden:
                h = fire(matrix @ h, self.cap, dim=1)
            return outputs @ h

        return logits

    def as_module(self, x: Tensor) -> nn.Module:
        """Full matrices, layer by layer."""
        weights = self.whole.weights(x[None].cpu()).T.float()
        first, *above = (matrix[0] for matrix in self.topology.matrices(weights))
        first, bias = self.topology.on_pixels(first)
        return layered([first, *above], self.cap, bias)
