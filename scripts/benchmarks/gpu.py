"""One generation at the paper's scale on a GPU, beside the same networks in dense layers: `benchmark.py gpu`.

Side by side in one run: the fused Triton kernels, PyTorch's products of the sparse layout, and dense bfloat16 layers
under ``torch.compile``, which are timed on a few networks and scaled. What the kernel multiplies is set against what a
large matrix product reaches on the same GPU.
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import torch
from rich.table import Table
from torch import Tensor

from nne.learners.network import NetworkEvolution
from nne.population.triton.networks import FusedPopulation
from nne.registry import composed
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.logging.progress import console

DENSE = 64  # networks that the dense path is timed on
SIDE = 8192  # of the matrices whose product is the limit


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds that a call takes, to the end of its work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a call, after two calls that may compile."""
    return median([timed(run, device) for _ in range(repeats + 2)][2:])


def dense_layers(images: Tensor, units: int, classes: int, networks: int, dtype: torch.dtype) -> Callable[[], Tensor]:
    """Full layers of so many networks, with whatever weights: their cost does not depend on them."""
    images = images.to(dtype)
    first = torch.randn(networks, images.shape[1], units, device=images.device, dtype=dtype)
    second = torch.randn(networks, units, classes, device=images.device, dtype=dtype)

    @torch.compile
    def logits(images: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return (images @ first).relu() @ second

    return lambda: logits(images, first, second)


def products(population: FusedPopulation, individuals: int, images: int) -> int:
    """Multiplications and additions of one evaluation that cannot be left out."""
    first = population.topology.first
    edges = int((population.source != first.sources).sum())
    return 2 * individuals * images * (edges + first.units * population.classes)


def gpu(dataset: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Milliseconds of every path, and the share of the limit that the kernel reaches."""
    config = composed("experiment=nne_mnist10_paper", "learner.test_individuals=2")
    device, learner_config = compute.device, config.learner
    learners = {b: NetworkEvolution(replace(config, backend=b), dataset, compute) for b in ("triton", "torch")}
    fused = learners["triton"].population
    assert isinstance(fused, FusedPopulation)
    images, labels = learners["triton"].minibatch()
    pixels, x = fused.gather(images), learners["triton"].genotypes(range(learner_config.population))
    tiles = torch.split(x, fused.tiling.genotypes)

    def evaluation() -> None:
        for tile in tiles:
            fused.rewards(tile, pixels, labels, 1.0)

    few = min(DENSE, learner_config.population)
    dense = dense_layers(images, fused.topology.first.units, fused.classes, few, compute.dtype)
    square = torch.randn(SIDE, SIDE, device=device, dtype=compute.dtype)
    times = {
        "a generation by Triton": seconds(learners["triton"].step, device, repeats),
        "its evaluation alone": seconds(evaluation, device, repeats),
        "a generation by PyTorch": seconds(learners["torch"].step, device, repeats),
        "dense layers, compiled": seconds(dense, device, repeats) * learner_config.population / few,
        "a large product": seconds(lambda: square @ square, device, repeats),
    }
    limit = 2 * len(square) ** 3 / times.pop("a large product")
    reached = products(fused, learner_config.population, len(images)) / times["its evaluation alone"]
    table = Table(
        "path",
        "milliseconds",
        title=f"N = {learner_config.population:,}, {len(images):,} images, n = {learner_config.genes:,}",
    )
    for path, time in times.items():
        table.add_row(path, f"{1000 * time:.3f}")
    console.print(table)
    console.print(
        f"the kernel multiplies at {reached / limit:.1%} of the speed of a product of {SIDE:,} x {SIDE:,} matrices"
    )
    rows: list[dict[str, object]] = [{"path": path, "seconds": time} for path, time in times.items()]
    return [*rows, {"path": "share of a large product", "share": reached / limit}]
