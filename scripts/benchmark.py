"""Measure speed as ratios, side by side in one run: `python scripts/benchmark.py population [--json PATH]`.

`population` times one whole generation (draw, express, evaluate, select) by the C++ kernel, where it can be had, and by
PyTorch, against the same generation evaluated by dense fp32 `torch.bmm`, at the paper's scale and around it. Every path
is timed on the same machine, in turn, several times; medians are printed. The dense path costs the same for every
genotype, so it is timed on a few and scaled. Then the same as lesser processors do it: the kernel compiled for their
level of x86-64, and PyTorch told to use no more than they have (`level` is one of these, as the environment says).

`dnn` times an epoch of unit-batch plasticity in the dual (Gram matrix) against the primal (the weights themselves),
and then the whole of the paper's largest experiment: 500 epochs at h = 100,000, from pixels to test accuracy.

`gpu` is a generation on a GPU, part by part, by the CUDA kernels and by PyTorch, beside dense layers; `instructions` is
what these kernels are compiled to, which wants no GPU.

`peers` sets evolution beside what a user would pick instead (`pip install -e '.[bench]'`); `tune` is how those were
tuned.

`genomes` is a generation of filters and of fields beside the random graph; `filter_peers` sets evolution strategies
beside it on the network of filters, as `tune_filter_peers` tuned them.

`pbo` is no speed: the 25 functions of IOHprofiler's PBO suite by `nne.optimize` and by what people use for bits; what
is known already, in `outputs/pbo/attempts.jsonl`, is not run again.

`islands` sets islands in one tensor beside as many runs, and one generation beside numpy's UMDA.

`handwriting` is no speed: the share of people's own pictures of digits that is recognised, kind by kind.
"""

import argparse
import json
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from rich.table import Table

from benchmarks.filter_peers import filter_peers, tune_filter_peers
from benchmarks.genomes import genomes
from benchmarks.gpu import gpu, timed
from benchmarks.handwriting import handwriting
from benchmarks.instructions import instructions
from benchmarks.islands import islands
from benchmarks.pbo import pbo, picture, table
from benchmarks.population import PAPER, level, population
from benchmarks.race import peers, tune
from dnn.config import DopamineConfig
from dnn.network import Dopamine
from nne.training import data
from nne.training.config import Config, TrainerConfig
from nne.training.device import Compute, choose, peak_memory
from nne.training.errors import exit_code
from nne.training.io.provenance import git_commit, versions
from nne.training.io.results import publish
from nne.training.logging import figures
from nne.training.logging.progress import console, track
from nne.training.parts import DataConfig, FeaturesConfig

DOPAMINE = Config(
    data=DataConfig(),
    features=FeaturesConfig(width=1000),
    learner=DopamineConfig(rule="reward_prediction_drawn", epsilon_1=0.3),  # moves links at every image to the end
    trainer=TrainerConfig(max_steps=500),
)
WIDTHS, WIDEST = (1000, 10_000), 100_000


def dual_and_primal(width: int, dataset: data.Dataset, compute: Compute, repeats: int) -> dict[str, object]:
    """Median seconds of an epoch, in turn, after a warm-up."""
    config = replace(DOPAMINE, features=FeaturesConfig(width=width))
    in_primal = replace(config, learner=replace(config.learner, path="primal"))
    dual, primal = (Dopamine(each, dataset, compute) for each in (config, in_primal))
    times = [(timed(dual.step, compute.device), timed(primal.step, compute.device)) for _ in range(repeats + 1)][1:]
    ours, theirs = (median(path) for path in zip(*times, strict=True))
    return {"width": width, "dual": ours, "primal": theirs, "ratio": median(p / d for d, p in times)}


def end_to_end(config: Config, dataset: data.Dataset, compute: Compute) -> dict[str, object]:
    """A whole run: the hidden layer and its Gram matrix, all epochs, the test."""
    start = time.perf_counter()
    learner = Dopamine(config, dataset, compute)
    ready = time.perf_counter()
    for _ in track(range(config.trainer.max_steps or 0), "epochs", config.trainer.max_steps or 0):
        learner.step()
    done = time.perf_counter()
    accuracy = learner.evaluate(dataset.test_images, dataset.test_labels)["test/accuracy"]
    seconds = {"gram": ready - start, "epochs": done - ready, "total": time.perf_counter() - start}
    width = config.features.width if config.features else 0
    return {
        "width": width,
        "epochs": learner.epoch,
        "seconds": seconds,
        "accuracy": accuracy,
        "peak_gib": peak_memory(compute.device),
    }


def dnn(dataset: data.Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Dual against primal, and the largest experiment from end to end."""
    table = Table("h", "s/epoch dual", "s/epoch primal", "ratio")
    rows = [dual_and_primal(width, dataset, compute, repeats) for width in WIDTHS]
    for row in rows:
        table.add_row(f"{row['width']:,}", *(f"{row[name]:.3f}" for name in ("dual", "primal")), f"{row['ratio']:.1f}")
    console.print(table)
    whole = end_to_end(replace(DOPAMINE, features=FeaturesConfig(width=WIDEST)), dataset, compute)
    seconds = whole["seconds"]
    assert isinstance(seconds, dict)
    console.print(
        f"h = {whole['width']:,}, {whole['epochs']} epochs, unit batch: {seconds['total']:.0f} s in all (hidden layer "
        f"and Gram matrix {seconds['gram']:.0f} s, epochs {seconds['epochs']:.0f} s), test accuracy "
        f"{whole['accuracy']:.2%}, peak memory {whole['peak_gib']:.2f} GiB"
    )
    return [*rows, whole]


BENCHMARKS = {
    "population": (population, PAPER),
    "level": (level, PAPER),
    "dnn": (dnn, DOPAMINE),
    "peers": (peers, PAPER),
    "tune": (tune, PAPER),
    "genomes": (genomes, PAPER),
    "filter_peers": (filter_peers, PAPER),
    "tune_filter_peers": (tune_filter_peers, PAPER),
    "gpu": (gpu, PAPER),
    "instructions": (instructions, PAPER),
    "islands": (islands, PAPER),
    "handwriting": (handwriting, DOPAMINE),
}


def main() -> int:
    """Parse the command line, measure, print, and write JSON if asked; the exit code is 2 for a user's error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*BENCHMARKS, "pbo"])
    parser.add_argument("--json", type=Path, help="write the same numbers here")
    parser.add_argument("--out", type=Path, help="a folder for the same as a table that scripts/report.py finds")
    parser.add_argument("--repeats", type=int, default=3, help="timed repetitions, after one warm-up")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--data", default="auto", choices=["auto", "mnist", "embedded"])
    bits = parser.add_argument_group("pbo")
    bits.add_argument("--genes", type=int, default=100, help="n; N-Queens and two Ising models need a square")
    bits.add_argument("--budget", type=int, default=20_000, help="evaluations of each search")
    bits.add_argument("--instances", type=int, default=11, help="of each function, from 1")
    bits.add_argument("--only", nargs="*", default=[], help="competitors; default: all")
    arguments = parser.parse_args()
    return exit_code(lambda: (searched if arguments.what == "pbo" else measured)(arguments))


def searched(arguments: argparse.Namespace) -> None:
    """The PBO suite."""
    out = arguments.out or Path("outputs/pbo")
    out.mkdir(parents=True, exist_ok=True)
    attempts = pbo(arguments.genes, arguments.budget, arguments.instances, arguments.only, out / "attempts.jsonl")
    publish(table(attempts), out, "pbo")
    figures.write(picture(attempts), out / "pbo.png")


def measured(arguments: argparse.Namespace) -> None:
    """The benchmark that is asked for."""
    benchmark, config = BENCHMARKS[arguments.what]
    compute = choose(arguments.device, replace(config, dtype=arguments.dtype).precision)
    dataset = data.load(DataConfig(source=arguments.data), seed=0).to(compute.device)
    console.print(f"{platform.machine()}, {compute.description}; data: {dataset.name}")
    rows = benchmark(dataset, compute, arguments.repeats)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        publish([{name: shown(value) for name, value in row.items()} for row in rows], arguments.out, arguments.what)
    if arguments.json:
        about = {
            "device": compute.description,
            "data": dataset.name,
            "versions": versions(),
            "git_commit": git_commit(),
        }
        arguments.json.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")


def shown(value: object) -> str:
    """A cell of a table."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
