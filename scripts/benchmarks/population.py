"""One generation by the C++ kernel, by PyTorch and as dense networks: `benchmark.py population`, and `level`."""

import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from rich.table import Table
from torch import Tensor

from benchmarks.gpu import timed
from benchmarks.peers import DenseEnvironment, DenseEvolution
from nne.learners.config import EvolutionConfig
from nne.learners.network import NetworkEvolution
from nne.population.cpp import kernel
from nne.population.factory import with_backend
from nne.training import data
from nne.training.config import Config, TrainerConfig
from nne.training.device import Compute, peak_memory
from nne.training.logging.progress import console
from nne.training.parts import DataConfig, NetworkConfig

BENCHMARK = Path(__file__).parent.with_name("benchmark.py")
PAPER = Config(
    data=DataConfig(),
    network=NetworkConfig(hidden=1000, edge_probability=0.1, beta=0.0025),
    learner=EvolutionConfig(genes=5000, population=1000, batch=None, temperature=1, fitness="none", test_individuals=2),
    trainer=TrainerConfig(max_steps=1),
)
GENES, BATCHES = (1000, 5000, 10_000), (100, None)
DENSE_GENOTYPES = 16  # how many the dense path is timed on
LEVEL_SCALES = ((5000, None), (10_000, 100))  # genes and images: the paper's, and those of experiment=nne_mnist10
PYTORCH_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
LEVELS = {
    "x86-64-v3": ("avx2", "AVX2", "AVX2"),
    "x86-64-v2": ("default", "SSE41", "SSE4_2"),
    "x86-64": ("default", "SSE41", "SSE4_2"),
}
COLUMNS = {  # of the table, and how their figures are written
    "level": "{}",
    "instructions": "{}",
    "genes": "{:,}",
    "images": "{:,}",
    "C++, s": "{:.3f}",
    "PyTorch, s": "{:.3f}",
    "dense, s": "{:.2f}",
    "dense / C++": "{:.1f}",
    "networks/s": "{:,.0f}",
    "GiB": "{:.2f}",
    "auto": "{}",
}


@dataclass(frozen=True)
class Row:
    """One scale: seconds a generation by each path, and how many times as long the dense one takes as the kernel.

    Without a kernel, as PyTorch. ``auto``: what ``backend=auto`` takes here.
    """

    genes: int
    individuals: int
    images: int
    cpp_seconds: float | None
    torch_seconds: float
    dense_seconds: float
    ratio: float
    networks_per_second: float
    peak_gib: float
    instructions: str
    auto: str


def measure(config: Config, dataset: data.Dataset, compute: Compute, repeats: int) -> Row:
    """All paths in turn, ``repeats`` times after a warm-up."""
    auto = with_backend(config, compute).backend
    fastest = "cpp" if compute.device.type == "cpu" and kernel.load() is None else "torch"
    by_torch = NetworkEvolution(replace(config, backend="torch"), dataset, compute)
    ours = NetworkEvolution(replace(config, backend=fastest), dataset, compute)
    sample = min(DENSE_GENOTYPES, config.learner.population)
    written_out = DenseEvolution(replace(config, backend="torch"), dataset, compute).environment
    assert isinstance(written_out, DenseEnvironment)
    images, labels = written_out.minibatch(0)

    def dense() -> Tensor:
        return written_out.dense_rewards(range(sample), images, labels)

    ours.step()
    peak = peak_memory(compute.device)
    by_torch.step()
    dense()
    paths = ours.step, by_torch.step, dense
    times = [[timed(path, compute.device) for path in paths] for _ in range(repeats)]
    scale = config.learner.population / sample
    our_seconds, torch_seconds, full = (median(path) for path in zip(*times, strict=True))
    return Row(
        genes=config.learner.genes,
        individuals=config.learner.population,
        images=len(images),
        cpp_seconds=our_seconds if fastest == "cpp" else None,
        torch_seconds=torch_seconds,
        dense_seconds=full * scale,
        ratio=median(scale * dense_time / our_time for our_time, _, dense_time in times),
        networks_per_second=config.learner.population / our_seconds,
        peak_gib=peak,
        instructions=ours.compute.instructions,
        auto=auto,
    )


def level(
    dataset: data.Dataset, compute: Compute, repeats: int, scales: Iterable[tuple[int, int | None]] = LEVEL_SCALES
) -> list[dict[str, object]]:
    """Some scales, as genes and images a generation, on the processor that the environment describes."""
    learners = (replace(PAPER.learner, genes=genes, batch=batch) for genes, batch in scales)
    rows = [measure(replace(PAPER, learner=learner), dataset, compute, repeats) for learner in learners]
    return [{"level": os.environ.get("NNE_MARCH", "native"), **asdict(row)} for row in rows]


def population(dataset: data.Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """The table of one generation at several scales, and then as on lesser processors."""
    rows = level(dataset, compute, repeats, itertools.product(GENES, BATCHES))
    if compute.device.type == "cpu" and platform.machine() == "x86_64":
        rows += [row for name in LEVELS for row in as_on(name, dataset.name, repeats)]
    table = Table(*COLUMNS)
    for row in rows:
        names = ("level", "instructions", "genes", "images", "cpp_seconds", "torch_seconds", "dense_seconds", "ratio")
        row_values = [row[name] for name in (*names, "networks_per_second", "peak_gib", "auto")]
        cells = zip(COLUMNS.values(), row_values, strict=True)
        table.add_row(*("" if value is None else how.format(value) for how, value in cells))
    console.print(table)
    return rows


def as_on(name: str, dataset: str, repeats: int) -> list[dict[str, object]]:
    """What a process measures that uses no more than a level of x86-64; nothing where it cannot run."""
    limits = {"NNE_MARCH": name, **dict(zip(PYTORCH_LIMITS, LEVELS[name], strict=True))}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        asked = [f"--json={out}", f"--repeats={repeats}", f"--data={dataset}", "--device=cpu"]
        asked += ["--dtype=float32"]  # lesser processors do not multiply bfloat16
        line = [sys.executable, str(BENCHMARK), "level", *asked]
        done = subprocess.run(line, env={**os.environ, **limits}, stdout=subprocess.DEVNULL)
        rows: list[dict[str, object]] = json.loads(out.read_text())["rows"] if done.returncode == 0 else []
    return rows
