"""Train one experiment, or sweep over many: `python scripts/train.py experiment=nne_mnist10`."""

import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from learners import CONFIGS, LEARNERS, build
from training.command_line import Job, check, quoted, register
from training.config import typed
from training.errors import UserError, require
from training.manual import manual_page

log = logging.getLogger("train")
FIRST = os.environ.get("RANK", "0") == "0"  # of several workers, the one that speaks
first_jobs: dict[tuple[str, ...], Job] = {}  # what must have evolved before a lifetime can begin
done: list[str] = []
failed: list[str] = []


@hydra.main(version_base="1.3", config_path=str(CONFIGS.resolve()), config_name="train")
def train(composed: DictConfig) -> None:
    """One job. In a sweep, an error ends this job only."""
    from training.progress import log_to_console
    from training.session import run

    if FIRST:
        log_to_console()
    settings = HydraConfig.get()
    overrides = list(settings.overrides.task)
    done.append(" ".join(overrides))
    in_sweep = settings.mode is RunMode.MULTIRUN
    if in_sweep:
        log.info("job %d: %s", len(done), done[-1])
    try:
        asked = Job(settings.runtime.choices["experiment"], typed(composed), overrides)
        folder = Path(settings.runtime.output_dir) if in_sweep else None
        run(with_evolution(asked, folder), folder, LEARNERS, build)
    except UserError as error:
        if not in_sweep:  # Hydra would print a traceback
            raise SystemExit(report(error)) from error
        log.error("job %s failed: %s", done[-1], error)
        failed.append(done[-1])


def with_evolution(job: Job, sweep_folder: Path | None) -> Job:
    """The job, after its individuals have evolved if they need to: a run of its own, in the folder ``evolved``."""
    from training.run_folder import new_path
    from training.session import run

    config, own = job.config, job.config.learner
    if own.name != "lifetime" or own.evolved or config.resume not in (None, "auto"):
        return job
    folder = sweep_folder or Path(config.run_dir or new_path(job.experiment))
    shared = {name: getattr(config, name) for name in ("seed", "device", "dtype", "backend", "data", "network")}
    first = first_jobs[tuple(own.evolve)]
    evolved = folder / "evolved"
    log.info("no learner.evolved is given: evolving first, by %s", " ".join(own.evolve))
    run(
        Job(first.experiment, replace(first.config, **shared, run_dir=str(evolved), resume="auto"), []),
        None,
        LEARNERS,
        build,
    )
    config = replace(config, learner=replace(own, evolved=str(evolved)), run_dir=str(folder))
    return Job(job.experiment, config, job.overrides)


def check_first_jobs(jobs: list[Job]) -> None:
    """Compose what must evolve first for any of the jobs, so that its mistakes too are found before any work."""
    for own in (job.config.learner for job in jobs):
        if own.name == "lifetime" and not own.evolved:
            (job,) = check(own.evolve, False, CONFIGS, LEARNERS)
            name = job.config.learner.name
            require(name == "evolution", f"learner.evolve must give learner=evolution, gives {name}")
            first_jobs[tuple(own.evolve)] = job


def report(error: UserError) -> int:
    """One line, however many workers there are; the exit code of a user's error.

    A mistake that all of them find is told by the first one, whose end ends the others; one that only another finds
    (data that are missing on one machine of several) is told by that one, after a while.
    """
    if not FIRST:
        time.sleep(10)
    print(f"error: {error}", file=sys.stderr)
    return 2


def main() -> int:
    """Check the command line, then run it; the exit code is 2 for a user's error."""
    sys.argv[1:] = quoted(sys.argv[1:])
    arguments = get_args_parser().parse_args()
    if arguments.help:
        print(manual_page(CONFIGS, LEARNERS))
        return 0
    register(LEARNERS)
    asks_hydra = arguments.cfg or arguments.info or arguments.hydra_help or arguments.shell_completion
    try:
        if not asks_hydra:
            check_first_jobs(check(arguments.overrides, arguments.multirun, CONFIGS, LEARNERS))
        train()
    except UserError as error:
        return report(error)
    except KeyboardInterrupt:
        print("interrupted at once; a run that had begun goes on from its last checkpoint", file=sys.stderr)
        return 130
    if failed:
        print(f"error: {len(failed)} of {len(done)} jobs failed: {'; '.join(failed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
