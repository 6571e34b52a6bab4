"""The kernels of ``networks.cu`` for one GPU and one number of classes, by what they compute."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nne.population.cuda import genotypes
from nne.population.cuda.driver import Kernels
from nne.population.weights import WeightMatrix
from nne.training.errors import require

SOURCE = Path(__file__).with_name("networks.cu")
ROWS, STEP, GROUP = 16, 16, 128  # genotypes of a tile, edges of a step, genotypes that are expressed together
QUAD = 4  # hidden units that are gone through together
TILE_BYTES = 512  # of a step's weights for a tile
BLOCKS = [(4, 2), (2, 4), (4, 1), (2, 2), (2, 1)]  # WB, WN: 32 WB images for 16 WN genotypes
PARTS = (1, 2, 4, 8)  # of the hidden units, that several blocks may go through at once


class Shape(NamedTuple):
    """How an evaluation is cut: blocks of ``WB x WN`` warps, each with one of so many parts of the hidden units."""

    WB: int
    WN: int
    parts: int


@dataclass(frozen=True)
class Sizes:
    """What the kernels are compiled for, beside the shape of a block.

    Args:
        rows: pixels, and one that is always zero.
        classes: ``C``.
        max_steps: the most steps that four hidden units have together.
    """

    rows: int
    classes: int
    max_steps: int

    @property
    def output_words(self) -> int:
        """Numbers of 16 bits that hold the output weights of four units for a tile."""
        return 128 * (-(-self.classes // 2))

    def shared(self, WB: int, WN: int) -> int:
        """Bytes of shared memory that a block takes (as in ``networks.cu``)."""
        stage = WN * (self.max_steps * TILE_BYTES + 2 * self.output_words) + self.max_steps * STEP * 4
        return -(-self.rows * 64 * WB // 128) * 128 + 2 * stage

    def macros(self, WB: int, WN: int) -> dict[str, int]:
        """For the compiler."""
        return {"C": self.classes, "WB": WB, "WN": WN, "MAX_STEPS": self.max_steps}


def limits(device: torch.device) -> tuple[int, int]:
    """The multiprocessors of a GPU, and the bytes of shared memory that a block may have."""
    properties = torch.cuda.get_device_properties(device)
    return properties.multi_processor_count, properties.shared_memory_per_block_optin  # type: ignore[attr-defined]


def fitting(sizes: Sizes, limit: int) -> list[tuple[int, int]]:
    """The shapes of a block that ``limit`` bytes of shared memory allow.

    Raises:
        UserError: there is none.
    """
    blocks = [block for block in BLOCKS if sizes.shared(*block) <= limit]
    least = min(sizes.shared(*block) for block in BLOCKS)
    require(bool(blocks), f"the network needs {least} bytes of shared memory, and the GPU has {limit}")
    return blocks


def best_shape(
    blocks: list[tuple[int, int]],
    tiles: int,
    images: int,
    quads: int,
    processors: int,
    parts: Iterable[int] = PARTS,
) -> Shape:
    """What keeps ``processors`` busy, by cycles as an H100 takes them: of four hidden units, those of waiting, of each
    warp and of the weights that are fetched; of a block, those of its pixels."""

    def cycles(shape: Shape) -> int:
        blocks = -(-images // (32 * shape.WB)) * -(-tiles // shape.WN) * shape.parts
        of_units = -(-quads // shape.parts) * (300 + 450 * shape.WB * shape.WN + 200 * shape.WN)
        return -(-blocks // processors) * (of_units + 3000 * shape.WB)

    return min((Shape(*block, each) for block in blocks for each in parts if each <= quads), key=cycles)


def parts_of(images: int, quads: int) -> int:
    """How many blocks share out the hidden units: as is best for a large tile on an H100, and so everywhere.

    It decides in which order logits are added up. So it must not depend on the genotypes that a tile or a worker has.
    """
    return best_shape(BLOCKS, 64, images, quads, 132).parts


class Fused:
    """A population's kernels.

    Args:
        sizes: what they are compiled for.
        first: ``[units + 1]`` int64, the first step of each hidden unit.
        place: ``[steps, 16]`` int64, the row of pixels of every edge.
        device: the GPU.
    """

    def __init__(self, sizes: Sizes, first: Tensor, place: Tensor, device: torch.device) -> None:
        self.sizes = sizes
        self.units = len(first) - 1
        self.quads = -(-self.units // QUAD)
        self.steps = len(place)
        self.device = device
        first = first[torch.arange(QUAD * self.quads + 1).clamp(max=self.units)]
        self.first = first[::QUAD].int().to(device)
        self.counts = first.diff().to(torch.uint8).to(device)
        self.processors, shared = limits(device)
        self.blocks = fitting(sizes, shared)
        swizzled = {WB: place * 64 * WB + (place % 8) * 16 for WB, _ in self.blocks}
        self.place = {WB: at.int().to(device) for WB, at in swizzled.items()}
        self.compiled: dict[tuple[int, int], Kernels] = {}

    def kernels(self, block: tuple[int, int]) -> Kernels:
        """Those for one shape of a block, compiled when it is first wanted."""
        if block not in self.compiled:
            self.compiled[block] = Kernels(SOURCE, self.sizes.macros(*block), self.device)
        return self.compiled[block]

    def express(self, x: Tensor, W: WeightMatrix, rectified: bool) -> tuple[Tensor, Tensor]:
        """The weights of genotypes ``x: [N, n]`` bool by a matrix whose rows are the slots of edges, then outputs.

        Returns:
            Of edges, ``[tiles, steps, 32, 8]``, and of outputs, ``[tiles, quads, 128 pairs of classes]``, bfloat16, in
            the order of ``networks.cu``: for whole groups of 128 genotypes.
        """
        kernels = next(iter(self.compiled.values()), None) or self.kernels(self.blocks[0])
        groups = -(-len(x) // GROUP)
        tiles = 8 * groups
        bits = genotypes.pack(x, 4 * groups)
        words = bits.shape[1]
        edges = torch.empty(tiles, self.steps, 32, 8, dtype=torch.bfloat16, device=self.device)
        outputs = torch.empty(tiles, self.quads, self.sizes.output_words, dtype=torch.bfloat16, device=self.device)
        if self.sizes.classes % 2:
            outputs.zero_()  # the last pair of classes is half empty
        given = bits, W.offsets, W.genes, W.values
        if self.steps:
            grid = -(-self.steps // 4), groups
            kernels.launch("express_edges", grid, 128, *given, edges, self.steps, words, int(rectified))
        first_row = STEP * self.steps
        grid = -(-self.quads * self.sizes.classes // 4), groups
        kernels.launch("express_outputs", grid, 128, *given, outputs, first_row, self.units, words, int(rectified))
        return edges, outputs

    def shape(self, N: int, images: int) -> Shape:
        """The best for so many genotypes on so many images; the bits of the results depend on the images alone."""
        parts = parts_of(images, self.quads)
        return best_shape(self.blocks, -(-N // ROWS), images, self.quads, self.processors, [parts])

    def logits(self, weights: tuple[Tensor, Tensor], N: int, pixels: Tensor, B: int) -> Tensor:
        """Of ``N`` genotypes on ``B`` images: ``[N, C, B]`` float32; the other arguments are those of ``rewards``."""
        shape = self.shape(N, B)
        parts = torch.empty(shape.parts, N, self.sizes.classes, B, device=self.device)
        self._evaluate(shape, weights, N, pixels, pixels, B, parts, 1.0, 0.0, rewarded=False)
        return parts[0] if shape.parts == 1 else parts.sum(dim=0)

    def rewards(
        self,
        weights: tuple[Tensor, Tensor],
        N: int,
        pixels: Tensor,
        labels: Tensor,
        temperature: float,
        ceiling: float,
    ) -> Tensor:
        """Rewards of ``N`` genotypes, added up over 32 images each: ``[image groups, N]`` float32.

        Args:
            weights: of ``express``.
            pixels: ``[rows, pitch]`` bfloat16, of the images that ``labels`` are of, and as many black ones as fill up
                whole blocks.
        """
        shape = self.shape(N, len(labels))._replace(parts=1)
        out = torch.zeros(pixels.shape[1] // 32, N, device=self.device)
        self._evaluate(shape, weights, N, pixels, labels, len(labels), out, temperature, ceiling, rewarded=True)
        return out

    def _evaluate(
        self,
        shape: Shape,
        weights: tuple[Tensor, Tensor],
        N: int,
        pixels: Tensor,
        labels: Tensor,
        B: int,
        out: Tensor,
        temperature: float,
        ceiling: float,
        rewarded: bool,
    ) -> None:
        WB, WN, parts = shape
        given = *weights, self.place[WB], self.first, self.counts, pixels, labels, out
        sizes = self.sizes.rows, pixels.shape[1], self.steps, self.quads, N, B
        grid = -(-B // (32 * WB)), -(-N // (ROWS * WN)), parts
        how = float(temperature), float(ceiling), int(rewarded)
        shared = self.sizes.shared(WB, WN)
        self.kernels((WB, WN)).launch("evaluate", grid, 32 * WB * WN, *given, *sizes, *how, shared=shared)
