"""The folder of a run: who may write to it, and the plain files a person or a script reads afterwards."""

import csv
import json
import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from nne.training.errors import UserError, require
from nne.training.io.lock import HeldError, locked
from nne.training.learner import Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY, METRICS, LOG, LOCK, PROFILE = "summary.json", "metrics.csv", "train.log", ".lock", "profile.json"


def claim(parent: Path, name: str) -> Path:
    """A new folder of that name, or ``name-2``, ``name-3`` ..., which this call has made and nobody else has.

    Raises:
        UserError: it cannot be made.
    """
    for number in count(1):
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"{path} cannot be made ({error.strerror}); choose another run_dir") from error
    raise AssertionError


def new_folder(experiment: str, outputs: Path = Path("outputs")) -> Path:
    """``outputs/<experiment>/<date_time>``, made now: of runs that start in the same second, each has its own."""
    return claim(outputs / experiment, time.strftime("%Y-%m-%d_%H-%M-%S"))


def latest_unfinished(experiment: str, outputs: Path = Path("outputs")) -> Path | None:
    """The newest run of an experiment that has a checkpoint and no summary."""
    runs = [p.parent for p in (outputs / experiment).glob("*/checkpoints") if not (p.parent / SUMMARY).exists()]
    return max(runs, default=None)


class RunFolder:
    """One run's folder, locked for as long as the run lasts.

    Raises:
        UserError: it cannot be written, another run is writing to it, or it already holds a run and
            ``resuming`` is false.
    """

    def __init__(self, path: Path, resuming: bool) -> None:
        self.path = path
        self._lock = ExitStack()
        try:
            held = not resuming and (path / METRICS).exists()
            taken = f"{path} already holds a run: go on with it by resume={path}, or choose another run_dir"
            require(not held, taken)
            path.mkdir(parents=True, exist_ok=True)
            self._lock.enter_context(locked(path / LOCK))
        except HeldError as error:
            raise UserError(f"another run is writing to {path}; choose another run_dir") from error
        except OSError as error:
            raise UserError(f"{path} cannot be written to ({error.strerror}); choose another run_dir") from error
        self._log = logging.FileHandler(path / LOG)
        self._log.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._log.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk is told elsewhere
        logging.getLogger().addHandler(self._log)
        self._rows: csv.DictWriter[str] | None = None
        self._metrics: TextIO | None = None

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def log(self, step: int, metrics: Metrics) -> None:
        """Append a row to ``metrics.csv``; the first row settles the columns, later ones may leave some empty."""
        if self._metrics is None or self._rows is None:
            path = self.path / METRICS
            columns = _columns(path) or ["step", *metrics]
            self._metrics = path.open("a", newline="")
            self._rows = csv.DictWriter(self._metrics, columns, extrasaction="ignore")
            if not path.stat().st_size:
                self._rows.writeheader()
        self._rows.writerow({"step": step, **{name: f"{value:.9g}" for name, value in metrics.items()}})
        self._metrics.flush()

    def note(self, text: str) -> None:
        """A line, or several, for ``train.log`` alone."""
        self._log.handle(logging.makeLogRecord({"msg": "%s", "args": (text,)}))

    def draw(self, figures: "Iterable[tuple[str, Figure]]") -> None:
        """Keep pictures as PNG files, each in the place of the one before it."""
        from nne.training.logging.figures import write

        self.figures.mkdir(exist_ok=True)
        for name, figure in figures:
            write(figure, self.figures / f"{name}.png")

    def forget_after(self, step: int) -> None:
        """Drop the rows of ``metrics.csv`` that come after a step, so that a resumed run writes them once."""
        path = self.path / METRICS
        if columns := _columns(path):
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if (row["step"] or "").isdigit() and None not in row]
            partial = path.with_suffix(".partial")
            with partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(row for row in rows if int(row["step"]) <= step)
            partial.replace(path)

    def finish(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``, the sign of a finished run."""
        partial = (self.path / SUMMARY).with_suffix(".partial")
        partial.write_text(json.dumps(summary, indent=2) + "\n")
        partial.replace(self.path / SUMMARY)

    def unfinish(self) -> None:
        """Take away ``summary.json``: the run goes on."""
        (self.path / SUMMARY).unlink(missing_ok=True)

    def summary(self) -> dict[str, Any] | None:
        """What ``finish`` wrote, if the run is finished."""
        path = self.path / SUMMARY
        return json.loads(path.read_text()) if path.exists() else None

    def close(self) -> None:
        """Let go of the files and of the lock."""
        if self._metrics:
            with suppress(OSError):  # of a full disk, once more
                self._metrics.close()
        logging.getLogger().removeHandler(self._log)
        self._log.close()
        self._lock.close()


def _columns(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return next(csv.reader(file), [])
