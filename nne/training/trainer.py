"""The shared loop: step, log, evaluate, save, resume, stop cleanly. It knows learners only by their protocol."""

import logging
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

import torch

from nne.training.config import Config, hyperparameters, to_dict
from nne.training.data.datasets import Dataset
from nne.training.device import peak_memory
from nne.training.distributed import WorkerGoneError
from nne.training.errors import UserError, first_line, require
from nne.training.io import checkpoint, provenance
from nne.training.io.run_folder import PROFILE, RunFolder
from nne.training.learner import Learner, Metrics, is_milestone, is_sampled
from nne.training.logging.loggers import About, open_loggers
from nne.training.logging.profiler import profiled
from nne.training.logging.progress import ProgressBar

log = logging.getLogger(__name__)

DRAWING_SHARE = 0.1  # of the run's time, for pictures; the last ones are always drawn


class Interrupted(Exception):  # noqa: N818  # not an error
    """A signal asked the run to stop; its state is saved."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class Trainer:
    """Trains one learner in one run folder.

    Args:
        experiment: the name it is recorded under.
        resumed: the metadata of the checkpoint that the learner was restored from, if it was.
        command: what makes the run again.
    """

    def __init__(
        self,
        experiment: str,
        config: Config,
        learner: Learner,
        data: Dataset,
        run: RunFolder,
        resumed: checkpoint.Metadata | None,
        command: str,
    ) -> None:
        self.experiment = experiment
        self.config = config
        self.learner = learner
        self.data = data
        self.compute = learner.compute
        self.run = run
        self.command = command
        self.step = resumed.step if resumed else 0
        self.seconds = resumed.seconds if resumed else 0.0
        self._overhead = resumed.overhead if resumed else 0.0
        self._began = time.perf_counter()
        self._worked = self.seconds
        self._drawing = 0.0
        self._pictured = self.step
        self._saved_step = self.step
        self._saved_at = time.monotonic()
        self._signal: int | None = None
        self._measured: dict[str, Any] | None = None
        self._commit = provenance.git_commit()
        limit = config.trainer.max_steps
        self.bar = ProgressBar(learner.step_name, learner.headline, self.step, limit)
        about = About(
            run.path,
            experiment,
            to_dict(config),
            hyperparameters(config, data.name, provenance.varying()),
            provenance.varying(),
            {"command": command, "data": f"{data.name}: {data.note}"},
            learner.charts,
            learner.headline,
            resumed.step if resumed else None,
        )
        self.loggers = open_loggers(config.trainer.logger, about)

    def train(self) -> dict[str, Any]:
        """Learn until there is a reason to stop, and return the summary.

        Raises:
            Interrupted: SIGINT or SIGTERM came; a checkpoint is written.
            UserError: the numbers are no longer finite, the disk is full, or the GPU failed.
        """
        handlers = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.run.forget_after(self.step)
            if self.step == 0:  # from its first row on, a run can be gone on with
                self.save()
            looked_at = profiled(self.config.trainer.profile, self.run.path / PROFILE, self.tell_profile)
            with self.bar, looked_at as profile:
                end = self.reason_to_end()
                while not self.compute.workers.broadcast(bool(reason := self.interruption() or end)):
                    metrics = self.train_step()
                    if end := self.reason_to_end():
                        metrics |= self.last_point()
                    self.bar.update(self.step, metrics)
                    self.record(metrics, last=end is not None)
                    if profile:
                        profile.step()
                assert reason
                if self._signal is not None:
                    self.save()
                    raise Interrupted(self._signal, f"{reason}; {self._resume_hint()}")
                return self.finish(reason)
        except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
            raise UserError(f"the GPU failed ({first_line(error)}); {self._resume_hint()}") from error
        except OSError as error:
            why = error.strerror or error
            raise UserError(f"{self.run.path} cannot be written to ({why}); {self._resume_hint()}") from error
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for logger in self.loggers:
                with suppress(OSError):  # what matters was written out before every checkpoint
                    logger.close()

    def train_step(self) -> Metrics:
        """One step of the learner, with the evaluation where one is due; timed."""
        start = time.perf_counter()
        metrics = as_metrics("step", self.learner.step())
        self.step += 1
        step_seconds = time.perf_counter() - start
        if self.step == 1 or self.step % self.config.trainer.evaluate_every == 0:
            with self.bar.doing("evaluating"):
                tested = as_metrics("evaluate", self.learner.evaluate(self.data.test_images, self.data.test_labels))
                headline = self.learner.headline
                require(headline in tested, f"evaluate of a learner must give {headline}, gave {list(tested)}")
                metrics |= tested
        self.seconds += time.perf_counter() - start
        return metrics | {
            "speed/seconds": self.seconds,
            "speed/overhead_seconds": self.overhead,
            "speed/steps_per_second": 1 / step_seconds,
            "memory/peak_gib": peak_memory(self.compute.device),
        }

    def last_point(self) -> Metrics:
        """The figures of the summary, for the row of the last step."""
        with self.bar.doing("evaluating"):
            images, labels = self.data.test_images, self.data.test_labels
            self._measured = self.learner.summary(images, labels)
            return self.learner.last_point(images, labels, self._measured)

    @property
    def overhead(self) -> float:
        """Seconds that this run has taken for anything but steps and evaluations: pictures, records, checkpoints."""
        return self._overhead + time.perf_counter() - self._began - (self.seconds - self._worked)

    def record(self, metrics: Metrics, last: bool) -> None:
        """Log a step, and save when it is time; ``finish`` draws and saves the last one.

        Numbers that are no longer finite stop the run.
        """
        wrong = [name for name, value in metrics.items() if not abs(value) < float("inf")]
        if wrong:
            raise UserError(
                f"{wrong[0]} is no longer finite at {self.learner.step_name} {self.step}; {self._resume_hint()}"
            )
        self.run.log(self.step, metrics)
        if last or is_sampled(self.step, digits=3):  # to 1,000 every step, to 10,000 every tenth ...
            for logger in self.loggers:
                logger.log(self.step, metrics)
        if last:
            return
        if self.learner.headline in metrics and self.pictures_are_due():
            self.show()
        if time.monotonic() - self._saved_at >= self.config.trainer.checkpoint_seconds:
            self.save()

    def pictures_are_due(self) -> bool:
        """At the first evaluation after a milestone, as long as pictures have not had a tenth of the run's time."""
        milestone = any(map(is_milestone, range(self._pictured + 1, self.step + 1)))
        return milestone and self._drawing <= DRAWING_SHARE * (self.seconds + self.overhead)

    def show(self) -> None:
        """Pictures and distributions of the learner as it is now."""
        start = time.perf_counter()
        with self.bar.doing("drawing"):
            figures = list(self.learner.figures(self.data.test_images, self.data.test_labels))
            histograms = self.learner.histograms()
            self.run.draw(figures)
            for logger in self.loggers:
                logger.show(self.step, histograms, figures)
                logger.flush()
        self._drawing += time.perf_counter() - start
        self._pictured = self.step

    def save(self) -> None:
        """Write a checkpoint, once the records of all steps before it are on the disk."""
        for logger in self.loggers:
            logger.flush()
        state = self.learner.state_dict()
        wrong = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
        require(not wrong, f"state_dict of a learner must hold tensors alone, and not {', '.join(wrong)}")
        config, backend = to_dict(self.config), self.compute.backend
        metadata = checkpoint.Metadata(
            self.experiment, self.data.name, self.step, self.seconds, config, backend, self.overhead, self.command
        )
        checkpoint.save(self.run.checkpoints, state, metadata, self.config.trainer.keep_checkpoints)
        self._saved_step = self.step
        self._saved_at = time.monotonic()

    def interruption(self) -> str | None:
        """The signal that stops the run here, if there was one."""
        if self._signal is None:
            return None
        return f"stopped by {signal.Signals(self._signal).name} at {self.learner.step_name} {self.step}"

    def reason_to_end(self) -> str | None:
        """Why the run is finished, if it is."""
        limits = self.config.trainer
        if limits.max_steps is not None and self.step >= limits.max_steps:
            return f"{self.step} {self.learner.step_name}s done"
        if limits.max_seconds is not None and self.seconds >= limits.max_seconds:
            return f"{limits.max_seconds:g} seconds used"
        return self.learner.reason_to_stop()

    def finish(self, reason: str) -> dict[str, Any]:
        """Measure, take the last pictures, save, and write ``summary.json``."""
        if self._measured is None:  # killed after its last step, and resumed
            self.last_point()
        measured = self._measured
        assert measured is not None
        self.show()
        data = self.data
        summary = {
            "experiment": self.experiment,
            "seed": self.config.seed,
            "dataset": data.name,
            "dataset_note": data.note,
            "train_size": len(data.train_labels),
            "test_size": len(data.test_labels),
            "device": self.compute.description,
            "dtype": self.compute.dtype_name,
            "backend": self.compute.backend,
            "instructions": self.compute.instructions,
            "steps": self.step,
            "seconds": round(self.seconds, 3),
            "overhead_seconds": round(self.overhead, 3),
            "stopped_because": reason,
            "peak_memory_gib": round(peak_memory(self.compute.device), 3),
            "headline": self.learner.headline,
            "result": self.learner.result,
            **measured,
            "state_sha256": checkpoint.state_sha256(self.learner.state_dict()),
            "command": self.command,
            "versions": provenance.versions(),
            "git_commit": self._commit,
            "config": to_dict(self.config),
        }
        for logger in self.loggers:
            logger.finish(summary)
        self.save()
        self.run.finish(summary)
        return summary

    def tell_profile(self, table: str) -> None:
        """Where the time of some steps went."""
        for logger in self.loggers:
            logger.tell("profile", table)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
        log.info("%s: finishing this %s, then saving", signal.Signals(number).name, self.learner.step_name)

    def _resume_hint(self) -> str:
        last = f"the last checkpoint is of {self.learner.step_name} {self._saved_step}"
        return f"{last}; go on with: {provenance.program('train')} resume={self.run.path}"


def as_metrics(method: str, given: object) -> Metrics:
    """What a learner's method gave, as numbers by name.

    Raises:
        UserError: it is something else.
    """
    if isinstance(given, Mapping) and not any(isinstance(value, str) for value in given.values()):
        with suppress(TypeError, ValueError, RuntimeError):
            return {name: float(value) for name, value in given.items()}
    raise UserError(f"{method} of a learner must give a dictionary of numbers, gave {str(given)[:80]}")


def worker_loop(learner: Learner) -> None:
    """Take every step that the first worker takes, keep no records, and end when it does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first worker decides
    try:
        while not learner.compute.workers.broadcast():
            learner.step()
    except WorkerGoneError as error:
        raise SystemExit(2) from error
    except UserError as error:
        print(f"error: worker {learner.compute.workers.rank}: {error}", file=sys.stderr)
        raise SystemExit(2) from error
