"""20,000 generations of a small net: memory and files must not grow with them: `python -m tests.faults.long_run`.

Draws docs/images/memory.png and prints what docs/faults.md tells.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nne.training.logging import figures
from tests.conftest import REPOSITORY, SMALL, TRAIN, environment

GENERATIONS = 20_000
ENDLESS = ["learner.epsilon=0.02", "learner.epsilon_final=null", "trainer.evaluate_every=200"]
RUN = [
    "experiment=nne_mnist10",
    *SMALL,
    *ENDLESS,
    f"trainer.max_steps={GENERATIONS}",
    "trainer.quiet=true",
    "run_dir=run",
]
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(process: int) -> float:
    """Memory that a process holds, in MiB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE / 2**20


def size(folder: Path, names: str) -> float:
    """Files in MiB."""
    return sum(path.stat().st_size for path in folder.rglob(names)) / 2**20


def main() -> int:
    """Run, watch, draw; the exit code is 1 if memory grew by more than a tenth after the first twentieth."""
    with tempfile.TemporaryDirectory() as place:
        run, start = Path(place) / "run", time.monotonic()
        process = subprocess.Popen([*TRAIN, *RUN], cwd=place, env=environment())
        seen: list[tuple[int, float, float]] = []
        while process.poll() is None:
            time.sleep(0.5)
            metrics = run / "metrics.csv"
            last = metrics.read_bytes()[-400:].splitlines()[-1:] if metrics.exists() else []
            number = last[0].split(b",")[0] if last else b""
            if number.isdigit() and process.poll() is None:
                seen.append((int(number), resident(process.pid), size(run, "events.*")))
        assert process.returncode == 0
        seconds = time.monotonic() - start
        files = {name: size(run, name) for name in ("events.*", "metrics.csv", "*.safetensors")}
    early = max(memory for step, memory, _ in seen if step <= GENERATIONS / 20)
    late = max(memory for _, memory, _ in seen)
    figure, (left, right) = figures.pair()
    steps, memory, events = zip(*seen, strict=True)
    left.plot(steps, memory)
    right.plot(steps, events)
    left.set(xlabel="generation", ylabel="memory of the process, MiB", ylim=(0, None))
    right.set(xlabel="generation", ylabel="TensorBoard's files, MiB", ylim=(0, None))
    figure.savefig(REPOSITORY / "docs" / "images" / "memory.png")
    print(f"{GENERATIONS:,} generations in {seconds:.0f} s: memory at most {early:.0f} MiB in the first twentieth")
    print(f"and {late:.0f} in all")
    print(", ".join(f"{name} {mib:.1f} MiB" for name, mib in files.items()))
    return int(late > 1.1 * early)


if __name__ == "__main__":
    sys.exit(main())
