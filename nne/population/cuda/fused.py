"""The kernels of ``kernels.cu`` for one GPU and one number of classes, by what they compute."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nne.population.cuda.driver import Kernels
from nne.population.cuda.genotypes import SOURCE
from nne.population.weights import WeightMatrix
from nne.training.errors import require

ROWS, STEP, GROUP = 16, 16, 128  # genotypes of a tile, edges of a step, genotypes that are expressed together
TILE_BYTES = 512  # of a step's weights for a tile
BLOCKS = [(4, 2), (4, 1), (2, 4), (2, 2), (2, 1)]  # WB, WN: 32 WB images for 16 WN genotypes
STAGES = 3
OLDEST = (8, 0)  # compute capability: bfloat16 by tensor cores, and copies into shared memory that nobody waits for


@dataclass(frozen=True)
class Sizes:
    """What the kernels are compiled for, beside the shape of a block.

    Args:
        rows: pixels, and one that is always zero.
        classes: ``C``.
        max_steps: the most steps of a hidden unit.
    """

    rows: int
    classes: int
    max_steps: int

    def shared(self, WB: int, WN: int) -> int:
        """Bytes of shared memory that a block takes (as in ``kernels.cu``)."""
        outputs = ROWS * -(-self.classes // 4) * 4 * 4
        stage = WN * (self.max_steps * TILE_BYTES + outputs) + self.max_steps * STEP * 4
        return -(-self.rows * 64 * WB // 128) * 128 + STAGES * stage

    def macros(self, WB: int, WN: int) -> dict[str, int]:
        """For the compiler."""
        return {"C": self.classes, "WB": WB, "WN": WN, "MAX_STEPS": self.max_steps, "STAGES": STAGES}


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


def best_block(blocks: list[tuple[int, int]], tiles: int, images: int, processors: int) -> tuple[int, int]:
    """The shape of a block that keeps ``processors`` busy, by cycles that a hidden unit takes: at least what one warp
    has to wait for, and what the arithmetic of all warps of a block takes."""

    def cycles(block: tuple[int, int]) -> int:
        WB, WN = block
        count = -(-images // (32 * WB)) * -(-tiles // WN)
        return -(-count // processors) * max(350, 70 * WB * WN)

    return min(blocks, key=cycles)


class Fused:
    """A population's kernels.

    Args:
        sizes: what they are compiled for.
        first: ``[units + 1]`` int32, the first step of each hidden unit.
        place: ``[steps, 16]`` int32, the row of pixels of every edge.
        device: the GPU.
    """

    def __init__(self, sizes: Sizes, first: Tensor, place: Tensor, device: torch.device) -> None:
        self.sizes = sizes
        self.units = len(first) - 1
        self.steps = len(place)
        self.device = device
        self.first = first.int().to(device)
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
            Of edges, ``[tiles, steps, 32, 8]`` bfloat16, and of outputs, ``[tiles, units, 16, C, filled up]`` float32:
            for whole groups of 128 genotypes.
        """
        kernels = next(iter(self.compiled.values()), None) or self.kernels(self.blocks[0])
        N, n = x.shape
        groups = -(-N // GROUP)
        words, tiles = 4 * groups, 8 * groups
        filled = -(-self.sizes.classes // 4) * 4
        bits = torch.empty(n, words, dtype=torch.int32, device=self.device)
        edges = torch.empty(tiles, self.steps, 32, 8, dtype=torch.bfloat16, device=self.device)
        outputs = torch.empty(tiles, self.units, ROWS, filled, device=self.device)
        kernels.launch("pack", (-(-n // 256), words), 256, x, bits, N, n, words)
        given = bits, W.offsets, W.genes, W.values
        if self.steps:
            grid = -(-self.steps // 4), groups
            kernels.launch("express_edges", grid, 128, *given, edges, self.steps, words, int(rectified))
        first_row = STEP * self.steps
        grid = -(-self.units // 4), groups
        kernels.launch("express_outputs", grid, 128, *given, outputs, first_row, self.units, words, int(rectified))
        return edges, outputs

    def evaluate(
        self,
        weights: tuple[Tensor, Tensor],
        N: int,
        pixels: Tensor,
        labels: Tensor | None,
        B: int,
        temperature: float,
        ceiling: float,
    ) -> Tensor:
        """Rewards of ``N`` genotypes, ``[image groups, N]``; without ``labels`` their logits, ``[N, C, B]``.

        Args:
            weights: of ``express``.
            pixels: ``[rows, pitch]`` bfloat16, of ``B`` images and as many black ones as fill up whole blocks.
        """
        edges, outputs = weights
        tiles = -(-N // ROWS)
        WB, WN = best_block(self.blocks, tiles, B, self.processors)
        pitch = pixels.shape[1]
        if labels is None:
            out = torch.empty(N, self.sizes.classes, B, device=self.device)
        else:
            out = torch.zeros(pitch // 32, N, device=self.device)
        rows, threads = self.sizes.rows, 32 * WB * WN
        given = edges, outputs, self.place[WB], self.first, pixels, pixels if labels is None else labels, out
        sizes = rows, pitch, self.steps, self.units, N, B
        grid = -(-B // (32 * WB)), -(-tiles // WN)
        how = float(temperature), float(ceiling), int(labels is not None)
        shared = self.sizes.shared(WB, WN)
        self.kernels((WB, WN)).launch("evaluate", grid, threads, *given, *sizes, *how, shared=shared)
        return out
