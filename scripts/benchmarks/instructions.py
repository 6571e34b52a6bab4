"""What the CUDA kernels are compiled to, and what a generation should cost: `benchmark.py instructions`, without a GPU.

It wants ``nvcc`` and ``nvdisasm`` (the CUDA toolkit, or ``pip install nvidia-cuda-nvdisasm``). For every architecture:
registers, spilt bytes, and instructions by kind, of ``evaluate`` those that the four hidden units of its innermost loop
take. From these, for an H100: how long the issue of instructions and the ports of shared memory take at least.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from nne.population.cuda import genotypes
from nne.population.cuda.fused import BLOCKS, QUAD, ROWS, SOURCE, STEP, Sizes, best_shape
from nne.population.layout import in_steps
from nne.registry import composed
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import require
from nne.training.logging.progress import console
from nne.training.models.network import sparse_topology

ARCHITECTURES = ("80", "90", "100")
KINDS = ("HMMA", "LDSM", "LDS", "LDGSTS", "LDG", "BAR", "MOV")
PROCESSORS, SCHEDULERS, CLOCK = 132, 4, 1.755e9  # of an H100
WIDE = 4  # times that shared memory is read for LDSM and LDS.128, without conflicts; for LDS once
Row = dict[str, object]


def disassembler() -> str:
    """The path of nvdisasm.

    Raises:
        UserError: it or nvcc is not there.
    """
    packaged = [str(path) for at in sys.path for path in Path(at).glob("nvidia/cu*/bin/nvdisasm")]
    found = shutil.which("nvdisasm") or next(iter(packaged), None)
    require(shutil.which("nvcc") is not None, "nvcc is not installed: it comes with the CUDA toolkit")
    require(found is not None, "nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
    assert found
    return found


def compiled(source: Path, macros: dict[str, int], architecture: str) -> tuple[dict[str, list[str]], str]:
    """Of each kernel its instructions and labels, in order; and what the assembler says of registers."""
    with TemporaryDirectory() as folder:
        to, defined = f"{folder}/kernels", [f"-D{name}={value}" for name, value in macros.items()]
        line = ["nvcc", "-std=c++17", f"-arch=sm_{architecture}", *defined, "-Xptxas", "-v", "-cubin", "-o", to]
        told = subprocess.run([*line, str(source)], capture_output=True, text=True, check=True).stderr
        text = subprocess.run([disassembler(), "-c", to], capture_output=True, text=True, check=True).stdout
    kernels: dict[str, list[str]] = {}
    for line_ in text.splitlines():
        if begun := re.match(r"\.text\.(\w+):", line_):
            own = kernels.setdefault(begun[1], [])
        elif match := re.match(r"(\.L_\w+:)|\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(.*?);", line_):
            own.append(match[1] or match[2])
    return kernels, told


def loops(instructions: list[str]) -> list[list[str]]:
    """The bodies of loops, innermost first."""
    at = {each: index for index, each in enumerate(instructions) if each.endswith(":")}
    found = []
    for index, each in enumerate(instructions):
        jump = re.match(r"BRA\S* .*`\((\.L_\w+)\)", each)
        if jump and at[f"{jump[1]}:"] < index:
            found.append(instructions[at[f"{jump[1]}:"] + 1 : index + 1])
    return sorted(found, key=len)


def mix(instructions: list[str]) -> Counter[str]:
    """How many of each kind, without labels."""
    kinds = Counter(each.split(".")[0].split()[0] for each in instructions if not each.endswith(":"))
    return kinds + Counter({"LDS.128": sum(each.startswith("LDS.128") for each in instructions)})


def wavefronts(place: list[int]) -> float:
    """Times that shared memory is read for eight pixels, whose place modulo 8 decides the bank."""
    eights = [set(place[at : at + 8]) for at in range(0, len(place), 8)]
    return sum(max(Counter(row % 8 for row in rows).values()) for rows in eights) / len(eights)


def estimate(loop: list[str], step: Counter[str], data: Dataset) -> list[Row]:
    """Milliseconds of an evaluation of ``nne_mnist10_paper`` on an H100, by what bounds it from below."""
    config = composed("experiment=nne_mnist10_paper")
    assert config.network
    seen = data.train_images.amax(dim=0) > 0
    topology = sparse_topology(data.train_images.shape[1], config.network, len(data.classes), seed=0)
    _, place, _ = in_steps(topology, seen, STEP)
    quads, tiles, images = (
        -(-topology.first.units // QUAD),
        -(-config.learner.population // ROWS),
        len(data.train_labels),
    )
    shape = best_shape(BLOCKS[1:], tiles, images, quads, PROCESSORS)
    blocks = -(-images // (32 * shape.WB)) * -(-tiles // shape.WN) * shape.parts
    turns = -(-blocks // PROCESSORS) * -(-quads // shape.parts) * shape.WB * shape.WN  # of four units, by one warp
    steps = len(place) / quads
    conflicts = wavefronts(place.flatten().tolist())
    others = mix(loop)
    issued = turns / SCHEDULERS * others.total() / CLOCK
    of_steps = steps * (WIDE * step["LDSM"] * conflicts + (WIDE - 1) * step["LDS.128"] + step["LDS"])
    read = turns * (of_steps + WIDE * 10) / CLOCK  # and the output weights of four units
    return [
        {"bound": "wavefronts for eight pixels", "figure": conflicts},
        {"bound": "issue of instructions, ms", "figure": 1000 * issued},
        {"bound": "shared memory, ms", "figure": 1000 * read},
    ]


def instructions(dataset: Dataset, compute: Compute, repeats: int) -> list[Row]:
    """All of it, printed."""
    table = Table("sm", "kernel", "registers", "spilt bytes", "instructions", *KINDS)
    rows: list[Row] = []
    for architecture in ARCHITECTURES:
        for source, macros in ((genotypes.SOURCE, {}), (SOURCE, Sizes(785, 10, 26).macros(2, 4))):
            kernels, told = compiled(source, macros, architecture)
            for name, body in kernels.items():
                about = told[told.index(f"Function properties for {name}") :]
                used, spilt = (re.search(what, about) for what in (r"Used (\d+) reg", r"(\d+) bytes spill stores"))
                assert used
                assert spilt
                whole = [(name, body)]
                if name == "evaluate":
                    inner, outer = (next(each for each in loops(body) if mix(each)["HMMA"] > n) for n in (0, 100))
                    whole += [("evaluate: four hidden units", outer), ("evaluate: four steps of 16 edges", inner)]
                    if architecture == "90":
                        step = Counter({kind: count / 4 for kind, count in mix(inner).items()})
                        bounds = estimate(outer, step, dataset)
                for title, part in whole:
                    kinds = mix(part)
                    kinds["all"] = kinds.total() - kinds["LDS.128"]
                    row = {"sm": architecture, "kernel": title, "registers": int(used[1]), "spilt": int(spilt[1])}
                    rows.append({**row, "instructions": kinds["all"], **{kind: kinds[kind] for kind in KINDS}})
                    table.add_row(*map(str, rows[-1].values()))
    console.print(table)
    for row in bounds:
        console.print(f"an H100, at least: {row['bound']}: {row['figure']:.2f}")
    return [*rows, *bounds]
