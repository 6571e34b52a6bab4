"""Weights & Biases, offline unless the environment variable ``WANDB_MODE`` says otherwise.

The files lie in the run's folder, under ``wandb/``; ``wandb sync`` sends them. A resumed run goes on under the same
id; steps after its last checkpoint stand there twice, since what was logged offline cannot be taken back.
"""

import hashlib
import os
from typing import Any

import wandb
from torch import Tensor

from nne.training.learner import Metrics
from nne.training.logging.loggers import About, Figures, Logger

PROJECT = "nne"


class RunLogger(Logger):
    """One run of the project that ``WANDB_PROJECT`` names (by default ``nne``)."""

    def __init__(self, about: About) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=about.folder,
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]  # wandb says what it allows
            id=hashlib.sha256(str(about.folder.resolve()).encode()).hexdigest()[:12],
            resume="allow",
            name=about.folder.name,
            group=about.experiment,
            config={**about.config, "hyperparameters": about.hyperparameters},
            notes="\n\n".join(about.texts.values()),
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, metrics: Metrics) -> None:
        """A point of every curve."""
        self._run.log({"step": step, **metrics})

    def show(self, step: int, histograms: dict[str, Tensor], figures: Figures) -> None:
        """Distributions and pictures."""
        shown = {name: wandb.Histogram(values.float().flatten().tolist()) for name, values in histograms.items()}
        pictures = {f"pictures/{name}": wandb.Image(figure) for name, figure in figures}
        self._run.log({"step": step, **shown, **pictures})

    def tell(self, name: str, text: str) -> None:
        """A text, as HTML."""
        self._run.log({name: wandb.Html(f"<pre>{text}</pre>")})

    def finish(self, summary: dict[str, Any]) -> None:
        """The figures of ``summary.json`` are the run's summary."""
        self._run.summary.update({name: value for name, value in summary.items() if name != "config"})

    def flush(self) -> None:
        """Nothing waits: a process of wandb's own writes."""

    def close(self) -> None:
        """Wait until that process has written everything."""
        self._run.finish()
