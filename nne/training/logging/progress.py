"""What a person sees while it runs: a live bar on a terminal, plain lines anywhere else."""

import logging
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
console = Console()
T = TypeVar("T")


def log_to_console(job: str = "", quiet: bool = False) -> None:
    """Send log lines to the terminal, above the bar if there is one.

    Args:
        job: what the lines of one job begin with, where several write to one terminal; they then have no bar.
        quiet: no bar, and no lines but warnings.
    """
    global console
    console = Console(force_terminal=False if job else None, quiet=quiet)
    if quiet:
        handler: logging.Handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("%(message)s"))
    elif console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, markup=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter(f"%(asctime)s {job}%(message)s", "%H:%M:%S"))
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


def spent(work: float, overhead: float) -> str:
    """Seconds of work and, where a person would notice, those of everything else."""
    more = f" and {overhead:.0f} s of pictures and records" if overhead >= 1 else ""
    return f"{work:.0f} s{more}"


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """The items, with a bar for as long as they last."""
    return iter(rich_track(items, what, total, console=console, transient=True, disable=not console.is_terminal))
