"""One population over many workers: measured here, and computed for machines that are not here.

python scripts/scale.py measure      # generations a second of 1, 2, 3 and 4 processes of one thread each
python scripts/scale.py model        # time and memory of a generation on up to 1,024 devices, from a cost model
"""

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table

from nne.training.logging.progress import console

TRAIN = Path(__file__).with_name("train.py")
GENERATIONS, WARM_UP = 40, 10
WORKERS = 1, 2, 3, 4


def measure(overrides: list[str]) -> None:
    """Generations a second of `experiment=nne_mnist10` by several processes, and the fingerprint of what they found."""
    cores = len(os.sched_getaffinity(0))
    table = Table("processes", "generations a second", "times one", "of what the cores allow", "state_sha256")
    alone = 0.0
    for workers in WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            asked = ["experiment=nne_mnist10", f"trainer.max_steps={GENERATIONS}", *overrides, f"run_dir={run}"]
            torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={workers}"]
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run([*torchrun, str(TRAIN), *asked], env=one_thread, stdout=subprocess.DEVNULL)
            if done.returncode:
                raise SystemExit(f"error: the run of {workers} failed; its own words are above")
            with (run / "metrics.csv").open() as rows:
                speeds = [float(row["speed/steps_per_second"]) for row in csv.DictReader(rows)]
            fingerprint = json.loads((run / "summary.json").read_text())["state_sha256"]
        speed = median(speeds[WARM_UP:])
        alone = alone or speed
        share = speed / alone / min(workers, cores)
        table.add_row(str(workers), f"{speed:.2f}", f"{speed / alone:.2f}", f"{share:.0%}", fingerprint[:16])
    console.print(table)


@dataclass(frozen=True)
class Machine:
    """A worker, and what links it to the others.

    Args:
        network: seconds that one network takes on all images: drawn, expressed, evaluated, added up.
        bandwidth: bytes a second of the slowest link.
        latency: seconds of one hop.
    """

    name: str
    network: float
    bandwidth: float
    latency: float


MACHINES = (
    Machine("one core of this machine", 1.4e-3, 5e9, 30e-6),
    Machine("a GPU that takes 3 ms for 1,000 networks", 3e-6, 50e9, 10e-6),
)
POPULATIONS, GENES, DEVICES = (10**3, 10**5, 10**7), 10_000, (1, 8, 64, 1024)
BLOCK, WEIGHTS = 128, 70_000  # individuals that stay together; links of a 784-1000-10 network that see anything


def all_reduce(size: int, workers: int, machine: Machine) -> float:
    """Seconds to add up ``size`` bytes, up a tree and down again; or round a ring, if that is faster."""
    tree = 2 * math.log2(workers) * machine.latency + 2 * size / machine.bandwidth * (workers > 1)
    ring = 2 * (workers - 1) * (machine.latency + size / workers / machine.bandwidth)
    return min(tree, ring)


def generation(N: int, workers: int, machine: Machine) -> tuple[float, float, float]:
    """Seconds a worker computes, seconds they exchange, and bytes that one must hold."""
    blocks = -(-N // BLOCK)
    shard = min(-(-blocks // workers) * BLOCK, N)
    exchange = all_reduce(8 * N, workers, machine) + all_reduce(16 * GENES, workers, machine)
    tile = min(shard, 1024)
    return shard * machine.network, exchange, 4 * WEIGHTS * tile + tile * GENES + 4 * 8 * N


def model() -> None:
    """The table of the cost model."""
    for machine in MACHINES:
        table = Table("N", "devices", "compute, s", "exchange, s", "generation, s", "efficiency", "memory of each, GiB")
        for N in POPULATIONS:
            alone = sum(generation(N, 1, machine)[:2])
            for workers in DEVICES:
                compute, exchange, memory = generation(N, workers, machine)
                whole = compute + exchange
                times = f"{compute:.3g}", f"{exchange:.2g}", f"{whole:.3g}"
                table.add_row(
                    f"{N:,}", f"{workers:,}", *times, f"{alone / whole / workers:.0%}", f"{memory / 2**30:.2f}"
                )
        table.title = machine.name
        console.print(table)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "model"])
    parser.add_argument("overrides", nargs="*", help="of experiment=nne_mnist10, for measure")
    arguments = parser.parse_args()
    if arguments.what == "measure":
        measure(arguments.overrides)
    else:
        model()


if __name__ == "__main__":
    main()
