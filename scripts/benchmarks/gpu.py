"""A generation on a GPU, part by part, beside PyTorch and dense layers: `benchmark.py gpu`.

Side by side in one run, for the paper's 2,000 images a generation and for 100: the CUDA kernels, PyTorch's products of
the sparse layout, and dense bfloat16 layers under ``torch.compile``, which are timed on a few networks and scaled. What
the kernel computes is held against float64 first. One part that fails costs no other's result.
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import torch
from rich.table import Table
from torch import Tensor

from nne.genome import draw
from nne.learners.network import NetworkEvolution
from nne.population.cpp.verification import difference, slice_of_work
from nne.population.cuda.networks import CudaPopulation
from nne.population.cuda.verification import missing
from nne.registry import composed
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import first_line, require
from nne.training.logging.progress import console

DENSE = 64  # networks that the dense path is timed on
SIDE = 8192  # of the matrices whose product is the limit
BATCHES = (None, 100)  # images a generation: all, and what experiments take


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


def operations(population: CudaPopulation, individuals: int, images: int) -> int:
    """Multiplications and additions of one evaluation that cannot be left out."""
    layer = population.topology.first
    edges = int(torch.isin(layer.source, population.seen.cpu()).sum())
    return 2 * individuals * images * (edges + layer.units * population.classes)


def parts(learner: NetworkEvolution, dense: bool, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """What there is to time of one learner's generation."""
    evolution, population, N = learner.evolution, learner.population, learner.learner_config.population
    images, labels = learner.minibatch()
    first = next(iter(population.tiles(range(N))))
    x, delta = learner.genotypes(range(N)), torch.rand(N, dtype=torch.float64, device=learner.device)
    tile, seen = learner.genotypes(first), population.gather(images)
    whole: dict[str, Callable[[], object]] = {"a generation": learner.step}
    if isinstance(population, CudaPopulation):
        kernels, W = population.kernels, population.W
        weights = kernels.express(tile, W, rectified=False)
        whole |= {
            "draw": lambda: draw(evolution.p, 0, evolution.generation, range(N)),
            "express": lambda: kernels.express(tile, W, rectified=False),
            "evaluate": lambda: population.evaluated(weights, len(tile), seen, labels, 1.0),
            "gather": lambda: population.gather(images),
        }
    else:
        whole["rewards"] = lambda: population.rewards(tile, seen, labels, 1.0)
    whole["select"] = lambda: (evolution.ask(range(1)), evolution.tell(delta))
    if dense:
        units, classes = 1000, population.classes
        whole["dense layers, compiled (a part)"] = dense_layers(images, units, classes, DENSE, dtype)
    assert len(x) == N
    return whole


def gpu(dataset: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Milliseconds of every part by every path, and the share of the GPU's limit that the kernel reaches."""
    device = compute.device
    why = missing(device)
    require(why is None, f"backend=cuda cannot be had: {why}")
    work = slice_of_work()
    everything = torch.ones(work.images.shape[1], dtype=torch.bool)
    rows: list[dict[str, object]] = []
    square = torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16)
    limit = 2 * SIDE**3 / seconds(lambda: square @ square, device, repeats)
    rows.append({"part": "large product", "flops": limit})
    console.print(f"a product of {SIDE:,} x {SIDE:,} matrices: {limit / 1e12:.0f} TFLOP/s")
    for batch in BATCHES:
        config = composed("experiment=nne_mnist10_paper", "learner.test_individuals=2")
        config = replace(config, learner=replace(config.learner, batch=batch))
        table = Table("path", "part", "milliseconds", title=f"{batch or len(dataset.train_labels):,} images")
        for backend in ("cuda", "torch"):
            try:
                learner = NetworkEvolution(replace(config, backend=backend), dataset, compute)
                for part, run in parts(learner, backend == "torch", torch.bfloat16).items():
                    time = seconds(run, device, repeats) * (config.learner.population / DENSE if "dense" in part else 1)
                    rows.append({"images": batch, "path": backend, "part": part, "seconds": time})
                    table.add_row(backend, part, f"{1000 * time:.3f}")
                    if part == "evaluate" and isinstance(learner.population, CudaPopulation):
                        images = batch or len(dataset.train_labels)
                        speed = operations(learner.population, config.learner.population, images) / time
                        rows.append(
                            {"images": batch, "path": backend, "part": "share of the limit", "share": speed / limit}
                        )
                        table.add_row(backend, "share of the large product's speed", f"{speed / limit:.1%}")
            except (RuntimeError, ValueError) as failure:
                rows.append({"images": batch, "path": backend, "error": first_line(failure)})
                table.add_row(backend, "failed", first_line(failure))
        console.print(table)
    error = difference(CudaPopulation(work.topology, work.W, everything, device), work.x[:8], work.images, work.labels)
    rows.append({"part": "difference from float64", "error": error})
    console.print(f"largest difference from float64, of the largest logit or reward: {error:.1e}")
    return rows
