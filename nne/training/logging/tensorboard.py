"""TensorBoard: scalars, histograms, pictures and the configuration, in the run's own folder.

A resumed run writes into the same folder; the points that came after the checkpoint are purged, so that curves have
neither gaps nor doubles.
"""

import threading
from typing import Any

import yaml
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter, summary

from nne.training.learner import Metrics
from nne.training.logging.loggers import About, Figures, Logger

_hparams: Any = summary.hparams
LARGEST = 1e20  # TensorBoard has no bins beyond


class RunLogger(Logger):
    """The TensorBoard of one run."""

    def __init__(self, about: About) -> None:
        threading.excepthook = _unless_full
        purge = None if about.resumed_step is None else about.resumed_step + 1
        self._writer = SummaryWriter(str(about.folder), purge_step=purge, max_queue=1000, flush_secs=15)
        if about.resumed_step is None:
            charts = {name: ["Multiline", [f"{tag}$" for tag in tags]] for name, tags in about.charts.items()}
            self._writer.add_custom_scalars({"at a glance": charts})
            for name, text in {"config": _as_text(about.config), **about.texts}.items():
                self.tell(name, text)
            # Not by add_hparams, which would make a second run; the table's figure is the last point of the headline.
            experiment, start, _ = _hparams(about.hyperparameters, {about.headline: None})
            _mark_varying(experiment, about.varying)
            self._add(experiment, start)

    def log(self, step: int, metrics: Metrics) -> None:
        """A point of every curve."""
        for tag, value in metrics.items():
            self._writer.add_scalar(tag, value, step)

    def show(self, step: int, histograms: dict[str, Tensor], figures: Figures) -> None:
        """Distributions and pictures."""
        for tag, values in histograms.items():
            shown = values[values.abs() < LARGEST].float()
            if shown.numel():
                self._writer.add_histogram(tag, shown, step)
        for name, figure in figures:
            self._writer.add_figure(f"pictures/{name}", figure, step, close=False)

    def tell(self, name: str, text: str) -> None:
        """A text, under the tab of texts."""
        self._writer.add_text(name, text)

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the row of the table of hyperparameters as finished."""
        self._add(_hparams({}, {})[2])

    def _add(self, *records: Any) -> None:
        writer: Any = self._writer.file_writer
        for record in records:
            writer.add_summary(record)

    def flush(self) -> None:
        """Write out what is in the queue; raises ``OSError`` where that fails."""
        self._writer.flush()

    def close(self) -> None:
        """Write out what is still in the queue."""
        self._writer.close()


def _mark_varying(experiment: Any, varying: list[str]) -> None:
    """Have the table of hyperparameters show first what varies: TensorBoard sorts all others by name."""
    data = experiment.value[0].metadata.plugin_data
    table = HParamsPluginData.FromString(data.content)
    for column in table.experiment.hparam_infos:
        column.differs = column.name in varying
    data.content = table.SerializeToString()


def _unless_full(hook: threading.ExceptHookArgs) -> None:
    """The thread that writes events dies of a full disk; ``flush`` raises its error again: no need to print it."""
    if not isinstance(hook.exc_value, OSError):
        threading.__excepthook__(hook)


def _as_text(config: dict[str, object]) -> str:
    """A configuration as a Markdown code block."""
    return "\n".join("    " + line for line in yaml.safe_dump(config, sort_keys=False).splitlines())
