"""Train one experiment, or sweep over many: `python scripts/train.py experiment=nne_mnist10`."""

import logging
import os
import sys
import time
import traceback
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from nne.registry import CONFIGS, LEARNERS, build
from nne.training.arguments import normalise_overrides
from nne.training.cli import Job, check, register, started
from nne.training.config import typed
from nne.training.cores import be_considerate, share
from nne.training.errors import UserError, first_line, require
from nne.training.io.provenance import command, program, varying
from nne.training.manual import manual_page, purpose

log = logging.getLogger("train")
FIRST = os.environ.get("RANK", "0") == "0"  # of several workers, the one that speaks


@hydra.main(version_base="1.3", config_path=str(CONFIGS.resolve()), config_name="train")
def train(composed: DictConfig) -> None:
    """One job. In a sweep, an error ends this job only."""
    from nne.training.io.run_folder import LOG, SUMMARY
    from nne.training.logging import sweep
    from nne.training.logging.progress import SWEEP, log_to_console
    from nne.training.run import run

    settings = HydraConfig.get()
    overrides = list(settings.overrides.task)
    experiment = settings.runtime.choices["experiment"]
    in_sweep = settings.mode is RunMode.MULTIRUN
    number = settings.job.num if in_sweep else 0
    if FIRST:
        side_by_side = in_sweep and settings.runtime.choices["hydra/launcher"] != "basic"
        log_to_console(sweep.label(number) if in_sweep else "", side_by_side, composed.trainer.quiet)
    if not in_sweep:
        try:
            asked = Job(experiment, typed(composed), overrides)
            introduce(asked)
            run(with_evolution(asked), None, LEARNERS, build)
        except UserError as error:  # Hydra would print a traceback
            raise SystemExit(report(error)) from error
        return
    folder, lines = Path(settings.runtime.output_dir), logging.getLogger(SWEEP)
    words = sweep.words(overrides, varying())
    try:
        done = (folder / SUMMARY).exists()
        summary = run(
            with_evolution(Job(experiment, typed(composed), overrides, folder, number)), folder, LEARNERS, build
        )
        lines.info("%s: %s%s", words, "finished already, " if done else "", sweep.outcome(summary))
    except UserError as error:
        lines.error("%s: failed: %s", words, error)
    except Exception as error:  # a mistake of the user's own code ends this job alone, unless others wait for this one
        if "WORLD_SIZE" in os.environ:
            raise
        lines.error("%s: failed: %s", words, unexpected(error))
        if not (folder / LOG).exists():
            traceback.print_exc()


def unexpected(error: Exception) -> str:
    """An error that is no ``UserError``, and where it was: ``ZeroDivisionError: division by zero (my_rule.py:4)``."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"{type(error).__name__}: {first_line(error)} ({Path(frame.f_code.co_filename).name}:{line})"


def introduce(job: Job) -> None:
    """What a run is about to do, and how to have another."""
    if job.config.resume is None and (file := CONFIGS / "experiment" / f"{job.experiment}.yaml").exists():
        log.info("%s: %s", job.experiment, purpose(file))
    if not any(override.startswith(("experiment=", "resume=")) for override in job.overrides):
        log.info("no experiment is named, so it is this one; for others: %s --help", program("train"))


def with_evolution(job: Job) -> Job:
    """The job, after its individuals have evolved if they need to: a run of its own, in the folder ``evolved``."""
    from nne.training.io.run_folder import new_folder
    from nne.training.run import run

    config, learner_config = job.config, job.config.learner
    if learner_config.name != "finetune" or learner_config.evolved or config.resume not in (None, "auto"):
        return job
    folder = job.folder or Path(config.run_dir or new_folder(job.experiment))
    shared = {name: getattr(config, name) for name in ("seed", "device", "dtype", "backend", "data", "network")}
    first = first_job(learner_config.evolve)
    evolved = folder / "evolved"
    log.info("no learner.evolved is given: evolving first, by %s", " ".join(learner_config.evolve))
    evolving = replace(first.config, **shared, run_dir=str(evolved), resume="auto")
    run(Job(first.experiment, evolving, []), None, LEARNERS, build)
    config = replace(config, learner=replace(learner_config, evolved=str(evolved)), run_dir=str(folder))
    return replace(job, config=config)


def first_job(evolve: list[str]) -> Job:
    """The evolution that ``learner=finetune`` needs first."""
    (job,) = check(evolve, False, CONFIGS, LEARNERS)
    name = job.config.learner.name
    require(name == "evolution", f"learner.evolve must give learner=evolution, gives {name}")
    plain = not job.config.learner.centre_logits
    require(plain, "learner.evolve must leave logits as they are: add learner.centre_logits=false to it")
    return job


def check_all(arguments: Namespace) -> list[Job]:
    """Every job of the command line, and what must evolve first for any: all mistakes are found before any work."""
    jobs = check(arguments.overrides, arguments.multirun, CONFIGS, LEARNERS)
    for learner_config in (job.config.learner for job in jobs):
        if learner_config.name == "finetune" and not learner_config.evolved:
            first_job(learner_config.evolve)
    return jobs


def own_folder(arguments: Namespace) -> list[Job]:
    """The jobs of a sweep, checked; where the user has named no folder for them, in one that this call has made."""
    from nne.training.io.run_folder import METRICS, claim

    jobs = check_all(arguments)
    resumes = any(job.config.resume for job in jobs)
    if any(override.startswith("hydra.sweep.dir=") for override in arguments.overrides):
        held = [job.folder.parent for job in jobs if job.folder and (job.folder / METRICS).exists()]
        mend = "go on with it by sweep.resume=true, or choose another hydra.sweep.dir"
        require(resumes or not held, f"{held[0] if held else ''} already holds jobs of this sweep: {mend}")
        return jobs
    require(not resumes, "sweep.resume=true goes on with a sweep's folder: add hydra.sweep.dir=FOLDER")
    folder = jobs[0].folder
    assert folder
    os.environ["NNE_STARTED"] = name = claim(folder.parent.parent, started()).name
    places = ((job, job.folder) for job in jobs if job.folder)
    return [replace(job, folder=place.parent.with_name(name) / place.name) for job, place in places]


def begin(jobs: list[Job]) -> None:
    """Say what a sweep is about to do, to the user and to its processes, and how these share the cores."""
    from nne.training.logging import sweep

    if FIRST:
        print(sweep.beginning(jobs), flush=True)
    sweep.tell_processes(jobs)
    places = os.getcwd(), os.environ.get("PYTHONPATH")  # noqa: PTH109
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    processes = min(jobs[0].side_by_side, len(jobs))
    if processes > 1:
        share(processes)


def report(error: UserError) -> int:
    """One line, however many workers there are; the exit code of a user's error.

    A mistake that all of them find is told by the first one, whose end ends the others; one that only another finds
    (data that are missing on one machine of several) is told by that one, after a while.
    """
    if not FIRST:
        time.sleep(10)
    print(f"error: {error}", file=sys.stderr)
    return 2


def show(page: str) -> None:
    """Print to somebody who may stop reading, as ``head`` does."""
    try:
        print(page, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python ends its last line


def conclude(jobs: list[Job]) -> int:
    """Print the results of a sweep, and which of its jobs have none; the exit code."""
    from nne.training.io.run_folder import SUMMARY
    from nne.training.logging import progress, sweep

    if results := sweep.table(jobs):
        progress.console.print(results)
    failed = [" ".join(job.overrides) for job in jobs if job.folder and not (job.folder / SUMMARY).exists()]
    if failed:
        print(f"error: {len(failed)} of {len(jobs)} jobs failed: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def main() -> int:
    """Check the command line, then run it; the exit code is 2 for a user's error."""
    be_considerate()
    os.environ["NNE_COMMAND"] = command()  # as it was typed; a sweep's processes have it from here
    jobs: list[Job] = []
    try:
        sys.argv[1:] = normalise_overrides(sys.argv[1:], CONFIGS)
        arguments = get_args_parser().parse_args()
        if arguments.help:
            show(manual_page(CONFIGS, LEARNERS))
            return 0
        register(LEARNERS)
        if not (arguments.cfg or arguments.info or arguments.hydra_help or arguments.shell_completion):
            jobs = own_folder(arguments) if arguments.multirun else check_all(arguments)
            if arguments.multirun:
                begin(jobs)
        train()
    except UserError as error:
        return report(error)
    except KeyboardInterrupt:
        print("interrupted at once; a run that had begun goes on from its last checkpoint", file=sys.stderr)
        return 130
    return conclude(jobs) if arguments.multirun and FIRST else 0
