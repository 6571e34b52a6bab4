"""Where the records of a run go beside its folder: TensorBoard, Weights & Biases, MLflow, any of them or none."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from nne.training.learner import Metrics

Figures = list[tuple[str, Figure]]


@dataclass(frozen=True)
class About:
    """What a logger is told of a run before its first step.

    folder: the run's folder.
    config: the whole configuration, as plain containers.
    hyperparameters: what tells runs apart.
    varying: which of them vary in the sweep that the run belongs to, if it belongs to one.
    texts: the command and the data, by name.
    charts: metrics that belong on one chart, by the chart's title.
    headline: the metric that a run is judged by.
    resumed_step: the step that the run goes on from, if it was resumed.
    """

    folder: Path
    experiment: str
    config: dict[str, Any]
    hyperparameters: dict[str, str | float]
    varying: list[str]
    texts: dict[str, str]
    charts: dict[str, list[str]]
    headline: str
    resumed_step: int | None


class Logger(ABC):
    """One such place. Steps only grow; a resumed run may give again those after its last checkpoint."""

    @abstractmethod
    def __init__(self, about: About) -> None: ...

    @abstractmethod
    def log(self, step: int, metrics: Metrics) -> None:
        """Figures of a step."""

    @abstractmethod
    def show(self, step: int, histograms: dict[str, Tensor], figures: Figures) -> None:
        """Distributions and pictures, at milestones."""

    @abstractmethod
    def tell(self, name: str, text: str) -> None:
        """A text in Markdown."""

    @abstractmethod
    def finish(self, summary: dict[str, Any]) -> None:
        """The run has ended as it should."""

    @abstractmethod
    def flush(self) -> None:
        """Write out what is in the queue; raises ``OSError`` where that fails."""

    @abstractmethod
    def close(self) -> None:
        """Write out what is still in the queue; nothing comes afterwards."""


def open_loggers(names: list[str], about: About) -> list[Logger]:
    """The loggers that ``trainer.logger`` names, e.g. ``["tensorboard", "wandb"]``."""
    modules = (import_module(f"nne.training.logging.{name}") for name in names)
    return [module.RunLogger(about) for module in modules]
