"""MLflow, in the local folder ``outputs/mlflow`` unless the environment variable ``MLFLOW_TRACKING_URI`` names a place.

A resumed run goes on in the same run of MLflow; steps after its last checkpoint stand there twice.
"""

import logging
import os
import time
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from torch import Tensor

from nne.training.config import flat
from nne.training.learner import Metrics
from nne.training.logging.loggers import About, Figures, Logger

FOLDER = Path("outputs/mlflow")
LONGEST, MOST = 500, 100  # of a parameter's text, and of parameters at once


class RunLogger(Logger):
    """One run of MLflow's experiment of the same name."""

    def __init__(self, about: About) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        chosen = os.environ.get("MLFLOW_TRACKING_URI")
        folder = FOLDER.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # the jobs of a sweep may all be the first to come
            self._client = MlflowClient(tracking_uri=chosen or f"sqlite:///{folder / 'mlflow.db'}")
            experiment = self._client.get_experiment_by_name(about.experiment)
            place = None if chosen else str(folder / "artifacts")
            number = experiment.experiment_id if experiment else self._client.create_experiment(about.experiment, place)
        self._run = self._begun(number, about) or self._begin(number, about)

    def _begun(self, experiment: str, about: About) -> str | None:
        if about.resumed_step is None:
            return None
        found = self._client.search_runs([experiment], f"tags.folder = '{about.folder.resolve()}'")
        return found[0].info.run_id if found else None

    def _begin(self, experiment: str, about: About) -> str:
        tags = {"folder": str(about.folder.resolve()), **about.texts}
        run: str = self._client.create_run(experiment, run_name=about.folder.name, tags=tags).info.run_id
        shown = {**about.hyperparameters, **flat(about.config)}
        params = [Param(name, str(value)[:LONGEST]) for name, value in shown.items()]
        for start in range(0, len(params), MOST):
            self._client.log_batch(run, params=params[start : start + MOST])
        return run

    def log(self, step: int, metrics: Metrics) -> None:
        """A point of every curve."""
        now = int(time.time() * 1000)
        self._client.log_batch(self._run, [Metric(name, value, now, step) for name, value in metrics.items()])

    def show(self, step: int, histograms: dict[str, Tensor], figures: Figures) -> None:
        """Pictures; MLflow has no distributions."""
        for name, figure in figures:
            self._client.log_figure(self._run, figure, f"figures/{name}.png")

    def tell(self, name: str, text: str) -> None:
        """A text, as a file."""
        self._client.log_text(self._run, text, f"{name}.md")

    def finish(self, summary: dict[str, Any]) -> None:
        """The figures of ``summary.json``, and the run's end."""
        self._client.log_dict(self._run, summary, "summary.json")
        self._client.log_batch(self._run, tags=[RunTag("state_sha256", summary["state_sha256"])])
        self._client.set_terminated(self._run)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""
