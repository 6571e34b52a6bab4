"""One run, from a configuration to a summary: what `scripts/train.py` calls for each job."""

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nne.training import data, device
from nne.training.cli import Job
from nne.training.config import Config, from_dict, to_dict
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError, require
from nne.training.io import checkpoint, provenance
from nne.training.io.run_folder import SUMMARY, RunFolder, latest_unfinished, new_folder
from nne.training.learner import Learner, State, shown
from nne.training.logging.progress import spent
from nne.training.trainer import Interrupted, Trainer, worker_loop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """A run to go on with."""

    folder: Path
    state: State
    metadata: checkpoint.Metadata


def run(
    job: Job,
    sweep_folder: Path | None,
    learners: Mapping[str, Any],
    build: Callable[[Config, Dataset, Compute], Learner],
) -> dict[str, Any]:
    """Train, or go on training, and return the summary.

    Args:
        sweep_folder: the job's own folder, if it is part of a sweep.
        learners: the configuration schema of each learner, by name.
        build: makes the learner that a configuration describes.

    Raises:
        UserError: something to mend. Nothing was written unless the run had begun.
        SystemExit: a signal stopped the run; its state is saved.
    """
    saved = _saved(job, sweep_folder)
    config = _continued(job, saved.metadata, learners) if saved else job.config
    experiment = saved.metadata.experiment if saved else job.experiment
    chosen = sweep_folder or (Path(config.run_dir) if config.run_dir else None)

    began_with = saved.metadata.backend if saved else None
    compute = replace(device.choose(config.device, config.precision, job.number), began_with=began_with)
    alone = compute.workers.count == 1 or config.learner.supports_distributed
    require(alone, f"learner={config.learner.name} runs in one process; start it without torchrun")
    dataset = data.load(config.data, config.seed).to(compute.device)
    learner = build(config, dataset, compute)
    if saved:
        same = saved.metadata.dataset == dataset.name
        require(same, f"resume: the run is on {saved.metadata.dataset}; here is only {dataset.name}, {dataset.note}")
        learner.load_state_dict(saved.state)

    team = learner.compute.workers
    team.broadcast()  # before anything is written, everybody has read what there was
    if team.rank:
        worker_loop(learner)
        return {}
    folder = saved.folder if saved else chosen or new_folder(experiment)
    records = RunFolder(folder, resuming=saved is not None)
    try:
        finished = records.summary()
        if (
            saved
            and finished
            and finished["steps"] == saved.metadata.step
            and _nothing_left(config, saved.metadata, learner)
        ):
            log.info("%s is finished already (%s)", folder, finished["stopped_because"])
            team.broadcast(1)
            return finished
        records.unfinish()
        _introduce(experiment, config.seed, folder, dataset, learner.compute, saved)
        metadata = saved.metadata if saved else None
        made_by = provenance.continued(metadata.command, job.overrides) if metadata else provenance.command()
        summary = Trainer(experiment, config, learner, dataset, records, metadata, made_by).train()
        _conclude(summary, learner, folder)
        return summary
    except Interrupted as stop:
        log.info("%s", stop)
        raise SystemExit(stop.exit_code) from stop
    except Exception as error:
        records.note(str(error) if isinstance(error, UserError) else traceback.format_exc())
        raise
    finally:
        records.close()


def load_run(
    folder: Path, learners: Mapping[str, Any], build: Callable[[Config, Dataset, Compute], Learner]
) -> tuple[Learner, Dataset, checkpoint.Metadata]:
    """The learner of a run, as its newest checkpoint left it, its data, and the metadata of the checkpoint.

    Raises:
        UserError: there is no such run, or its data cannot be found here.
    """
    require(folder.is_dir(), f"run={folder}: there is no such folder")
    state, metadata = checkpoint.load_latest(folder / "checkpoints")
    config = from_dict(metadata.config, learners)
    compute = replace(device.choose(config.device, config.precision), began_with=metadata.backend)
    dataset = data.load(config.data, config.seed).to(compute.device)
    same = metadata.dataset == dataset.name
    require(same, f"run={folder}: the run is on {metadata.dataset}; here is only {dataset.name}, {dataset.note}")
    learner = build(config, dataset, compute)
    learner.load_state_dict(state)
    return learner, dataset, metadata


def _saved(job: Job, sweep_folder: Path | None) -> Saved | None:
    """The run that ``resume`` means, if there is one."""
    wanted = job.config.resume
    if wanted is None:
        return None
    folder = Path(wanted)
    if wanted == "auto":
        given = sweep_folder or (Path(job.config.run_dir) if job.config.run_dir else None)
        latest = given or latest_unfinished(job.experiment)
        if latest is None or not checkpoint.saved(latest / "checkpoints"):
            log.info("resume=auto: no unfinished run of %s; starting a new one", job.experiment)
            return None
        folder = latest
    require(folder.is_dir(), f"resume={folder}: there is no such folder")
    return Saved(folder, *checkpoint.load_latest(folder / "checkpoints"))


def _continued(job: Job, metadata: checkpoint.Metadata, learners: Mapping[str, Any]) -> Config:
    """The configuration that the run began with, and what the command line may change of it."""
    stored = from_dict(metadata.config, learners)
    trainer, chosen = to_dict(stored)["trainer"], {"device": stored.device, "backend": stored.backend}
    for override in job.overrides:
        name = override.lstrip("+").split("=", 1)[0]
        if name == "experiment":
            same = job.experiment == metadata.experiment
            require(same, f"resume: the run is of experiment={metadata.experiment}, not {job.experiment}")
        elif name.startswith("trainer."):
            trainer[name.removeprefix("trainer.")] = _at(to_dict(job.config), name)
        elif name in chosen:
            chosen[name] = getattr(job.config, name)
        elif name not in ("resume", "run_dir") and not name.startswith("hydra"):
            then, now = _at(to_dict(stored), name), _at(to_dict(job.config), name)
            require(then == now, f"resume: {name} was {then} when the run began, not {now}; leave it out")
    return replace(stored, device=chosen["device"], backend=chosen["backend"], trainer=type(stored.trainer)(**trainer))


def _at(config: dict[str, Any], name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = value[part] if value is not None else None
    return value


def _nothing_left(config: Config, metadata: checkpoint.Metadata, learner: Learner) -> bool:
    """Whether a finished run has no more to do under the limits it has now."""
    steps, seconds = config.trainer.max_steps, config.trainer.max_seconds
    return bool(
        (steps is not None and metadata.step >= steps)
        or (seconds is not None and metadata.seconds >= seconds)
        or learner.reason_to_stop()
    )


def _introduce(
    experiment: str, seed: int, folder: Path, dataset: Dataset, compute: Compute, saved: Saved | None
) -> None:
    log.info("%s, seed %d, on %s", experiment, seed, compute.description)
    if dataset.name != data.NOTHING.name:
        sizes = f"{len(dataset.train_labels)} training and {len(dataset.test_labels)} test images"
        log.info("%s: %s (%s)", dataset.name, sizes, dataset.note)
    if saved:
        log.info("going on in %s from step %d", folder, saved.metadata.step)
    else:
        log.info("writing to %s; watch it with: tensorboard --logdir %s", folder, folder.parent)


def _conclude(summary: dict[str, Any], learner: Learner, folder: Path) -> None:
    name = learner.headline.removeprefix("test/")
    result = f"{name} {shown(learner.result, summary[learner.result])}"
    result += " on test images" if learner.headline.startswith("test/") else ""
    took = spent(summary["seconds"], summary["overhead_seconds"])
    log.info("%s: %s in %s: %s", summary["experiment"], summary["stopped_because"], took, result)
    log.info("everything is in %s, the figures in %s", folder, folder / SUMMARY)
