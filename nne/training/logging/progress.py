"""What a person sees while it runs: a live bar on a terminal, plain lines anywhere else."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import track as rich_track

from nne.training.learner import Metrics, shown

log = logging.getLogger(__name__)
T = TypeVar("T")
SWEEP = "sweep"  # the logger of what a job of a sweep prints
UNITS = (("days", 86_400), ("h", 3600), ("min", 60))
FORETOLD = 2.0  # seconds of work, and 3 steps, after which the end is estimated


def on_terminal() -> bool:
    """Whether a bar can be redrawn in place: not in a file, and not in a notebook, which says that it is a terminal."""
    return sys.stdout.isatty() and "JPY_PARENT_PID" not in os.environ


console = Console(force_terminal=on_terminal())


def log_to_console(job: str = "", side_by_side: bool = False, quiet: bool = False) -> None:
    """Send log lines to the terminal, above the bar if there is one.

    Args:
        job: what the lines of a sweep's job begin with; of those, only warnings and the job's own line are shown.
        side_by_side: several jobs write to one terminal, so there is no bar.
        quiet: no bar, and no lines but warnings.
    """
    global console
    console = Console(force_terminal=on_terminal() and not side_by_side, quiet=quiet)
    if quiet:
        handler: logging.Handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("%(message)s"))
    elif console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, markup=False)
        handler.setFormatter(logging.Formatter(f"{job}%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter(f"%(asctime)s {job}%(message)s", "%H:%M:%S"))
    if job:
        handler.addFilter(lambda record: record.name == SWEEP or record.levelno >= logging.WARNING)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class ProgressBar:
    """Steps done, steps a second, time left, and the headline as it was last measured."""

    def __init__(self, step_name: str, headline: str, done: int, total: int | None) -> None:
        self.step_name = step_name
        self.headline = headline
        self.total = total
        self._bar = Progress(
            TextColumn(f"{step_name}"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[headline]}"),
            TextColumn("{task.fields[activity]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._done, self._worked, self._foretold = done, 0.0, total is None
        self._task = self._bar.add_task("", total=total, completed=done, rate="", headline="", activity="")

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    @contextmanager
    def doing(self, activity: str) -> Iterator[None]:
        """Say what else than steps is being done, while it is."""
        self._bar.update(self._task, activity=f"({activity})")
        self._bar.refresh()
        try:
            yield
        finally:
            self._bar.update(self._task, activity="")

    def update(self, step: int, metrics: Metrics) -> None:
        """Show a finished step; where there is no terminal, print a line whenever the test set was evaluated."""
        rate = f"{metrics['speed/steps_per_second']:.2f}/s"
        self._foretell(step, 1 / metrics["speed/steps_per_second"])
        fields: dict[str, Any] = {"rate": rate}
        if self.headline in metrics:
            name = self.headline.removeprefix("test/")
            fields["headline"] = f"{name} {shown(self.headline, metrics[self.headline])}"
            if not (console.is_terminal or console.quiet):
                others = [k for k in metrics if k.startswith("test/") and k != self.headline and not k.endswith("_sd")]
                parts = [fields["headline"], *(f"{k.removeprefix('test/')} {metrics[k]:.2%}" for k in others)]
                of = f"/{self.total}" if self.total else ""
                seconds = spent(metrics["speed/seconds"], metrics["speed/overhead_seconds"]) + f", {rate}"
                log.info("%s %d%s: %s (%s)", self.step_name, step, of, ", ".join(parts), seconds)
        self._bar.update(self._task, completed=step, **fields)

    def _foretell(self, step: int, seconds: float) -> None:
        """Say once how long the run will take: the first step, which compiles and caches, does not count."""
        if self._foretold or self.total is None or step == self._done + 1:
            return
        self._worked += seconds
        steps = step - self._done - 1
        if steps >= 3 and self._worked >= FORETOLD:
            left = spoken((self.total - step) * self._worked / steps)
            log.info(
                "about %s to go, for at most %s %ss; Ctrl-C saves and stops", left, f"{self.total:,}", self.step_name
            )
            self._foretold = True


def spoken(duration: float) -> str:
    """``35 s``, ``12 min``, ``3.4 h``, ``2.1 days``."""
    for unit, length in UNITS:
        if duration >= 1.5 * length:
            return f"{duration / length:.{0 if unit == 'min' else 1}f} {unit}"
    return f"{duration:.0f} s"


def spent(work: float, overhead: float) -> str:
    """Seconds of work and, where a person would notice, those of everything else."""
    more = f" and {overhead:.0f} s of pictures and records" if overhead >= 1 else ""
    return f"{work:.0f} s{more}"


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The items, with a bar for as long as they last."""
    return iter(rich_track(items, what, total, console=console, transient=True, disable=not console.is_terminal))
