"""A generation of filters, and of fields that share nothing, beside the random graph: evaluations a second, memory."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

from benchmarks.race import show
from nne.learners.network import NetworkEvolution
from nne.registry import composed
from nne.training.data.datasets import Dataset
from nne.training.device import Compute, peak_memory
from nne.training.errors import UserError

ALIKE = "learner.population=64", "learner.batch=100"
EXPERIMENTS = {"random graph": "nne_mnist10", "filters": "nne_filters_mnist10", "fields": "nne_fields_mnist10"}
WAYS = {  # what is judged, and by what
    "total, kernel": ("learner.credit=total", "backend=cpp"),
    "total, PyTorch": ("learner.credit=total", "backend=torch"),
    "module, PyTorch": ("learner.credit=module", "backend=torch"),
}


def genomes(dataset: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Each in a process of its own, for its peak of memory."""
    rows: list[dict[str, object]] = []
    for name, experiment in EXPERIMENTS.items():
        for way, overrides in WAYS.items():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                try:
                    asked = f"experiment={experiment}", *ALIKE, *overrides
                    found = alone.submit(generation, asked, dataset, compute, repeats).result()
                except UserError:
                    continue  # a random graph has no modules, or there is no kernel
            rows.append({"weights": name, "credit": way, **found})
    show("A generation", rows)
    return rows


def generation(asked: tuple[str, ...], dataset: Dataset, compute: Compute, repeats: int) -> dict[str, object]:
    """Median time of a generation, after two that warm up."""
    config = composed(*asked)
    learner = NetworkEvolution(config, dataset, compute)
    times = []
    for _ in range(2 + max(repeats, 5)):
        start = time.perf_counter()
        learner.step()
        times.append(time.perf_counter() - start)
    seconds = median(times[2:])
    N, B = learner.evolution.N, config.learner.batch
    return {
        "genes": f"{config.learner.genes:,}",
        "ms a generation": 1e3 * seconds,
        "evaluations a second": f"{N * B / seconds:,.0f}",
        "peak memory, GiB": peak_memory(compute.device),
    }
