"""TensorBoard: scalars each step, histograms and pictures at milestones, and the configuration.

Tags are documented in the README. A resumed run writes into the same files' folder; the points that came after the
checkpoint are purged, so that curves have neither gaps nor doubles.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter, summary

from nne.training.learner import Metrics, is_sampled

_hparams: Any = summary.hparams
LARGEST = 1e20  # TensorBoard has no bins beyond


class Dashboard:
    """The TensorBoard of one run; ``figures`` are also kept as PNG files, for papers and for people without it."""

    def __init__(
        self,
        folder: Path,
        figures: Path,
        resumed_step: int | None,
        charts: dict[str, list[str]],
        texts: dict[str, str],
        hyperparameters: dict[str, str | float],
        headline: str,
    ) -> None:
        self._figures = figures
        threading.excepthook = _unless_full
        purge = None if resumed_step is None else resumed_step + 1
        self._writer = SummaryWriter(str(folder), purge_step=purge, max_queue=1000, flush_secs=15)
        if resumed_step is None:
            self._writer.add_custom_scalars(
                {"at a glance": {k: ["Multiline", [f"{t}$" for t in v]] for k, v in charts.items()}}
            )
            for tag, text in texts.items():
                self._writer.add_text(tag, text)
            # Not by add_hparams, which would make a second run; the table's figure is the last point of the headline.
            self._tell(*_hparams(hyperparameters, {headline: None})[:2])

    def log(self, step: int, metrics: Metrics) -> None:
        """Scalars: of every step up to 1,000, of every tenth up to 10,000 and so on; ``metrics.csv`` has all."""
        if is_sampled(step, digits=3):
            for tag, value in metrics.items():
                self._writer.add_scalar(tag, value, step)

    def show(self, step: int, histograms: dict[str, Tensor], figures: Iterable[tuple[str, Figure]]) -> None:
        """Distributions and pictures."""
        for tag, values in histograms.items():
            shown = values[values.abs() < LARGEST].float()
            if shown.numel():
                self._writer.add_histogram(tag, shown, step)
        self._figures.mkdir(exist_ok=True)
        for name, figure in figures:
            figure.savefig(self._figures / f"{name}.png")
            self._writer.add_figure(f"pictures/{name}", figure, step, close=False)
        self.flush()

    def finish(self) -> None:
        """The run has ended as it should."""
        self._tell(_hparams({}, {})[2])

    def _tell(self, *parts: Any) -> None:
        writer: Any = self._writer.file_writer
        for part in parts:
            writer.add_summary(part)

    def tell_profile(self, table: str) -> None:
        """Where the time of some steps went."""
        self._writer.add_text("profile", table)

    def flush(self) -> None:
        """Write out what is in the queue; raises ``OSError`` where that fails."""
        self._writer.flush()

    def close(self) -> None:
        """Write out what is still in the queue."""
        self._writer.close()


def _unless_full(hook: threading.ExceptHookArgs) -> None:
    """The thread that writes events dies of a full disk; ``flush`` raises its error again: no need to print it."""
    if not isinstance(hook.exc_value, OSError):
        threading.__excepthook__(hook)


def as_text(config: dict[str, object]) -> str:
    """A configuration as a Markdown code block."""
    return "\n".join("    " + line for line in yaml.safe_dump(config, sort_keys=False).splitlines())
