"""Do to real runs what happens to machines, and count the lost ones: `python -m tests.faults.inject [NAME ...]`.

Every trial breaks a run of evolution at a random moment, makes good what was broken, goes on with `resume=auto`, and
compares with a run that nothing happened to: summary, allele frequencies, `metrics.csv` and TensorBoard must be the
same. Prints a table, and puts it into docs/faults.md. File systems that are full or read-only are real ones, for which
it must be root.
"""

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nne.training.errors import UserError
from nne.training.io.checkpoint import load, load_latest, saved
from nne.training.io.results import insert, markdown
from tests.commands.test_train import assert_same_run
from tests.conftest import REPOSITORY, SMALL, TRAIN, environment, summary

DOCUMENT = REPOSITORY / "docs" / "faults.md"
RUN = ["experiment=nne_mnist10", *SMALL, "trainer.max_steps=40", "trainer.checkpoint_seconds=0.2"]
GRACE = 30.0  # seconds between SIGTERM and SIGKILL, as Slurm has it


@dataclass
class Whole:
    """A run that nothing happened to, and how long it took from the command to its end."""

    folder: Path
    seconds: float


def command(folder: Path, *more: str, **environ: str) -> subprocess.Popen[str]:
    """Start, or go on with, the run in a folder."""
    whole = [*TRAIN, *RUN, f"run_dir={folder}", "resume=auto", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(whole, cwd=folder.parent, env={**environment(), **environ}, **pipes)  # type: ignore[call-overload]


def finish(folder: Path, whole: Whole) -> None:
    """Go on to the end; the run must be the same as if nothing had happened."""
    process = command(folder)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert_same_run(folder, whole.folder)


def killed(folder: Path, whole: Whole) -> str:
    """`kill -9` at a random moment, from before the first import to after the end"""
    process = command(folder)
    time.sleep(random.uniform(0, whole.seconds))
    process.kill()
    process.communicate()
    finish(folder, whole)
    return ""


def preempted(folder: Path, whole: Whole) -> str:
    """SIGTERM at a random moment, SIGKILL 30 s later (Slurm's preemption)"""
    process = command(folder)
    time.sleep(random.uniform(0, whole.seconds))
    process.terminate()
    start = time.monotonic()
    process.communicate(timeout=GRACE)
    stopped = time.monotonic() - start
    assert process.returncode in (0, 143, -signal.SIGTERM), process.returncode
    finish(folder, whole)
    return f"{stopped:.2f}"


@contextmanager
def file_system(place: Path, *options: str) -> Iterator[None]:
    """A small file system of its own."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def full(folder: Path, whole: Whole) -> str:
    """a disk of random size that fills up: while a checkpoint, a row of metrics, a picture or an event is written"""
    disk = folder.parent / "disk"
    size = random.randint(40, 900)
    with file_system(disk, "-o", f"size={size}k"):
        run = disk / "run"
        process = command(run)
        output, _ = process.communicate(timeout=240)
        assert "Traceback" not in output, output
        assert process.returncode == 2, f"{size} KiB were enough"
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        finish(run, whole)
    return ""


def damaged(folder: Path, whole: Whole) -> str:
    """the newest checkpoint cut off at every 1,000th byte, or with a bit flipped there; the one before is used"""
    large = "learner.genes=10000"
    command(folder, large).communicate(timeout=240)
    fingerprint = summary(folder)["state_sha256"]
    newest, before = saved(folder / "checkpoints")[::-1][:2]
    content, step = newest.read_bytes(), load(before)[1].step
    tried = 0
    for at in range(0, len(content), 1000):
        flipped = content[:at] + bytes([content[at] ^ (1 << random.randrange(8))]) + content[at + 1 :]
        for broken in (content[:at], flipped):
            newest.write_bytes(broken)
            assert load_latest(folder / "checkpoints")[1].step == step, f"damage at byte {at} went unnoticed"
            tried += 1
    (folder / "summary.json").unlink()
    command(folder, large).communicate(timeout=240)
    assert summary(folder)["state_sha256"] == fingerprint
    return f"{tried}"


def crowded(folder: Path, whole: Whole) -> str:
    """a second run started in the folder of one that is running; the second is refused"""
    first = command(folder)
    while not (folder / "metrics.csv").exists():
        time.sleep(0.01)
    second = command(folder)
    output, _ = second.communicate(timeout=240)
    if first.poll() is None:  # it had not ended meanwhile
        assert second.returncode == 2, output
        assert "another run is writing to" in output
    first.communicate(timeout=240)
    assert_same_run(folder, whole.folder)
    return ""


def backwards(folder: Path, whole: Whole) -> str:
    """a clock that runs backwards, a minute a second, and a kill"""
    place = folder.parent / "clock"
    place.mkdir()
    patch = "import time\nstart, tick = time.time(), time.monotonic\nbegan = tick()\n"
    (place / "sitecustomize.py").write_text(patch + "time.time = lambda: start - 60 * (tick() - began)\n")
    process = command(folder, PYTHONPATH=os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")]))
    time.sleep(random.uniform(0.5, 1) * whole.seconds)
    process.kill()
    process.communicate()
    finish(folder, whole)
    return ""


def unwritable(folder: Path, whole: Whole) -> str:
    """a folder of data on a read-only file system, where nothing can be downloaded to"""
    data = folder.parent / "data"
    with file_system(data, "-o", "size=1m"):
        subprocess.run(["mount", "-o", "remount,ro", str(data)], check=True)
        process = command(folder, "data=auto", NNE_DATA=str(data))
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "embedded" in output
    assert summary(folder)["state_sha256"] == summary(whole.folder)["state_sha256"]
    return ""


@dataclass(frozen=True)
class Fault:
    """What is done, how often, and what the figure is that a trial gives, if it gives one."""

    do: Callable[[Path, Whole], str]
    trials: int
    figure: str = ""


FAULTS = {
    "killed": Fault(killed, 50),
    "preempted": Fault(preempted, 10, "the longest took {most:.1f} s to save and stop"),
    "full": Fault(full, 20),
    "damaged": Fault(damaged, 1, "{most:.0f} damages, all noticed"),
    "crowded": Fault(crowded, 5),
    "backwards": Fault(backwards, 5),
    "unwritable": Fault(unwritable, 1),
}


def inject(fault: Fault, whole: Whole) -> dict[str, str]:
    """All trials of a fault, as a row of the table."""
    lost, figures, start = 0, [], time.monotonic()
    for trial in range(fault.trials):
        with tempfile.TemporaryDirectory() as place:
            try:
                figures.append(fault.do(Path(place) / "run", whole))
            except (AssertionError, subprocess.SubprocessError, OSError, UserError):
                lost += 1
                print(f"{fault.do.__name__}, trial {trial}: {traceback.format_exc()[-3000:]}", file=sys.stderr)
    numbers = [float(figure) for figure in figures if figure]
    return {
        "what was done": fault.do.__doc__ or "",
        "times": f"{fault.trials}",
        "runs lost": f"{lost}",
        "seconds": f"{time.monotonic() - start:.0f}",
        "figure": fault.figure.format(most=max(numbers, default=0)) if fault.figure else "",
    }


def main() -> int:
    """Break runs; the exit code is 1 if any was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", choices=[*FAULTS, []], help="which; default: all, and the table is kept")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    chosen = parser.parse_args()
    random.seed(chosen.seed)
    with tempfile.TemporaryDirectory() as place:
        start = time.monotonic()
        process = command(Path(place) / "run")
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        whole = Whole(Path(place) / "run", time.monotonic() - start)
        rows = []
        for name in chosen.faults or FAULTS:
            rows.append(inject(FAULTS[name], whole))
            print(f"{name}: {rows[-1]}", flush=True)
    print(markdown(rows))
    if not chosen.faults:
        insert({"faults": rows}, DOCUMENT)
    return int(any(row["runs lost"] != "0" for row in rows))


if __name__ == "__main__":
    os.chdir(REPOSITORY)
    logging.disable(logging.WARNING)  # of damaged checkpoints, hundreds of lines
    sys.exit(main())
