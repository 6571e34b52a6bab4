"""A generation on a GPU, part by part, beside PyTorch, dense layers and another strategy: `benchmark.py gpu`.

Side by side in one run, for the paper's 2,000 images a generation and for 100: the CUDA kernels, PyTorch's products of
the sparse layout, dense bfloat16 layers under ``torch.compile`` (timed on a few networks and scaled), and a step of the
rank-1 strategy with as many networks. Then a population of 100,000, the whole of ``experiment=nne_mnist10``, and a step
of every other kind of learner. What the kernels compute is held against float64. A part that fails says so, and costs
no other's result.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.peers import RankOne, Setting
from nne.genome import draw
from nne.learners.network import NetworkEvolution
from nne.population.cuda.networks import CudaPopulation
from nne.population.verification import difference, slice_of_work
from nne.registry import build, composed
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import first_line, require
from nne.training.logging.progress import console

DENSE = 64  # networks that the dense path is timed on
SIDE = 8192  # of the matrices whose product is the limit
BATCHES = (None, 100)  # images a generation: all, and what experiments take
MANY = 100_000  # individuals
PAPER = ("experiment=nne_mnist10_paper", "learner.test_individuals=2")
WHOLE = ("experiment=nne_mnist10",)
LEVELS = (0.788, 0.882)  # of the test images, by individuals: the paper's figure, and near the end
EVERY = 20  # generations between two looks at it
OTHERS = (
    *("nne_filters_mnist10", "nne_deep_filters_mnist10", "nne_apart_mnist10", "nne_cnn", "adam_filters_mnist10"),
    *("sgd_mnist10", "fa_mnist10", "ep_mnist10", "adam_features_h1000", "dnn_h1000", "dnn_reward_h1000"),
)
SMALLER: tuple[str, ...] = ()  # overrides of all experiments
Row = dict[str, object]


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


def dense_layers(images: Tensor, units: int, classes: int) -> Callable[[], Tensor]:
    """Full bfloat16 layers of ``DENSE`` networks, with whatever weights: their cost does not depend on them."""
    images = images.to(torch.bfloat16)
    kind = {"device": images.device, "dtype": torch.bfloat16}
    first = torch.randn(DENSE, images.shape[1], units, **kind)  # type: ignore[call-overload]
    second = torch.randn(DENSE, units, classes, **kind)  # type: ignore[call-overload]

    @torch.compile
    def logits(images: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return (images @ first).relu() @ second

    return lambda: logits(images, first, second)


def operations(population: CudaPopulation, individuals: int, images: int) -> int:
    """Multiplications and additions of one evaluation that cannot be left out."""
    layer = population.topology.first
    edges = int(torch.isin(layer.source, population.seen.cpu()).sum())
    return 2 * individuals * images * (edges + layer.units * population.classes)


def parts(learner: NetworkEvolution) -> dict[str, Callable[[], object]]:
    """What there is to time of one learner's generation."""
    evolution, population, N = learner.evolution, learner.population, learner.learner_config.population
    images, labels = learner.environment.minibatch(learner.generation)
    tile = learner.genotypes(next(iter(population.tiles(range(N)))))
    delta = torch.rand(N, dtype=torch.float64, device=learner.device)
    seen = population.gather(images)
    whole: dict[str, Callable[[], object]] = {"a generation": learner.step}
    if learner.replay:
        whole["a generation without the host"] = learner.replay.recorded.replay
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
        whole["rewards of a tile"] = lambda: population.rewards(tile, seen, labels, 1.0)
    return whole | {"select": lambda: (evolution.ask(range(1)), evolution.tell(delta))}


class Benchmark:
    """The parts of `benchmark.py gpu`, each of which yields its rows.

    Args:
        data, compute: full MNIST, on the GPU.
        repeats: timed calls of each part.
    """

    def __init__(self, data: Dataset, compute: Compute, repeats: int) -> None:
        self.data = data
        self.compute = compute
        self.device = compute.device
        self.repeats = repeats
        self.limit = float("nan")

    def paper(self, batch: int | None, backend: str, individuals: int | None = None) -> Config:
        """The paper's generation."""
        config = replace(composed(*PAPER), backend=backend)
        population = individuals or config.learner.population
        return replace(config, learner=replace(config.learner, batch=batch, population=population))

    def large_product(self) -> Iterator[Row]:
        """What the GPU can do at most."""
        square = torch.randn(SIDE, SIDE, device=self.device, dtype=torch.bfloat16)
        self.limit = 2 * SIDE**3 / seconds(lambda: square @ square, self.device, self.repeats)
        yield {"path": "PyTorch", "part": f"product of {SIDE:,} x {SIDE:,}, TFLOP/s", "figure": self.limit / 1e12}

    def error(self) -> Iterator[Row]:
        """The kernels against float64."""
        work = slice_of_work()
        everything = torch.ones(work.images.shape[1], dtype=torch.bool)
        kernels = CudaPopulation(work.topology, work.W, everything, self.device)
        figure = difference(kernels, work.x[:8], work.images, work.labels)
        yield {"path": "cuda", "part": "difference from float64, of the largest logit or reward", "figure": figure}

    def generation(self, batch: int | None, backend: str) -> Iterator[Row]:
        """Part by part, and the share of the large product's speed."""
        config = self.paper(batch, backend)
        learner = NetworkEvolution(config, self.data, self.compute)
        images = batch or len(self.data.train_labels)
        for part, run in parts(learner).items():
            time = seconds(run, self.device, self.repeats)
            yield {"images": images, "path": backend, "part": f"{part}, ms", "figure": 1000 * time}
            if part == "evaluate" and isinstance(learner.population, CudaPopulation):
                speed = operations(learner.population, config.learner.population, images) / time
                share = 100 * speed / self.limit
                yield {"images": images, "path": backend, "part": "of the large product's speed, %", "figure": share}

    def dense(self, batch: int | None) -> Iterator[Row]:
        """The same networks as full layers."""
        some, config = self.data.train_images[:batch], self.paper(batch, "torch")
        assert config.network
        run = dense_layers(some, config.network.layers[0], len(self.data.classes))
        scale = config.learner.population / DENSE
        time = 1000 * scale * seconds(run, self.device, self.repeats)
        yield {"images": len(some), "path": "dense, compiled", "part": "evaluate, ms", "figure": time}

    def rank_one(self, batch: int | None) -> Iterator[Row]:
        """A step of the strategy whose perturbations have rank one."""
        peer = RankOne(self.data, Setting(0.003, 0.003, self.paper(batch, "torch").learner.population), batch)
        time = 1000 * seconds(peer.step, self.device, self.repeats)
        images = batch or len(self.data.train_labels)
        yield {"images": images, "path": "rank-1 ES", "part": "a step, its draws by the CPU, ms", "figure": time}

    def many(self) -> Iterator[Row]:
        """A generation of a large population, on 100 images."""
        learner = NetworkEvolution(self.paper(100, "auto", MANY), self.data, self.compute)
        time = 1000 * seconds(learner.step, self.device, 1)
        part = f"a generation of {MANY:,}, ms"
        yield {"images": 100, "path": learner.compute.backend, "part": part, "figure": time}

    def whole(self) -> Iterator[Row]:
        """``experiment=nne_mnist10``: seconds of generations to some accuracies and to its end."""
        learner = NetworkEvolution(composed(*WHOLE), self.data, self.compute)
        left, passed = list(LEVELS), 0.0

        def accuracy() -> float:
            return float(learner.evaluate(self.data.test_images, self.data.test_labels)["test/individuals"])

        path = learner.compute.backend
        while learner.generation != learner.generations and learner.reason_to_stop() is None:
            passed += timed(learner.step, self.device)
            while left and learner.generation % EVERY == 0 and accuracy() >= left[0]:
                yield {"path": path, "part": f"nne_mnist10 to {left.pop(0):.1%}, s", "figure": passed}
        yield {"path": path, "part": "nne_mnist10 to its end, s", "figure": passed}
        yield {"path": path, "part": "nne_mnist10, % of the test images", "figure": 100 * accuracy()}

    def other(self, experiment: str) -> Iterator[Row]:
        """A step of another learner."""
        learner = build(composed(f"experiment={experiment}", *SMALLER), self.data, self.compute)
        time = 1000 * seconds(learner.step, self.device, min(self.repeats, 3))
        part = f"{learner.step_name} of {experiment}, ms"
        yield {"path": learner.compute.backend, "part": part, "figure": time}

    def all(self) -> Iterator[Row]:
        """Every part."""
        pieces: list[tuple[str, Callable[[], Iterator[Row]]]] = [
            ("large product", self.large_product),
            ("difference from float64", self.error),
        ]
        for batch in BATCHES:
            of = f", {batch or 'all'} images"
            pieces += [
                *((f"generation by {path}{of}", partial(self.generation, batch, path)) for path in ("cuda", "torch")),
                (f"dense layers{of}", partial(self.dense, batch)),
                (f"rank-1 ES{of}", partial(self.rank_one, batch)),
            ]
        pieces += [("large population", self.many), ("nne_mnist10", self.whole)]
        pieces += [(each, partial(self.other, each)) for each in OTHERS]
        for name, piece in pieces:
            try:
                yield from piece()
            except (RuntimeError, ValueError, OSError) as failure:
                yield {"part": name, "failed": first_line(failure)}


def gpu(dataset: Dataset, compute: Compute, repeats: int) -> list[Row]:
    """All of it, printed as it comes.

    Raises:
        UserError: there is no GPU.
    """
    require(compute.device.type == "cuda", "there is no GPU here, and this benchmark is of one; see nne doctor")
    table = Table("images", "path", "part", "figure")
    rows = []
    for row in Benchmark(dataset, compute, repeats).all():
        rows.append(row)
        figure = row.get("figure")
        shown = f"{figure:.4g}" if isinstance(figure, float) else f"failed: {row['failed']}"
        console.print(*(str(row[key]) for key in ("images", "path", "part") if key in row), shown, soft_wrap=True)
        table.add_row(*(str(row.get(key, "")) for key in ("images", "path", "part")), shown)
    console.print(table)
    return rows
