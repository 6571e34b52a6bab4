"""A real TensorBoard on loopback, asked through its HTTP API for everything that a sweep has recorded."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.conftest import SMALL, call, summary

Ask = Callable[..., Any]
SWEEP = [*SMALL, "trainer.max_steps=6", "trainer.evaluate_every=2", "seed=0,1", "hydra.sweep.dir=sweep"]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Ask]]:
    """A sweep of two, and what asks a TensorBoard on it."""
    place = tmp_path_factory.mktemp("board")
    done = call("train", "-m", "experiment=nne_mnist10", *SWEEP, cwd=place)
    assert done.returncode == 0, done.stderr
    serve = [sys.executable, "-m", "tensorboard.main", "--logdir", "sweep", "--host", "127.0.0.1", "--port", "0"]
    server = subprocess.Popen(serve, cwd=place, stderr=subprocess.PIPE, text=True)
    assert server.stderr
    address = next(result[1] for line in server.stderr if (result := re.search(r"at (http://127\.0\.0\.1:\d+)", line)))

    def ask(what: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        address_of = f"{address}/data/plugin/{what}?{urlencode(query)}"
        headers = {"Content-Type": "application/json"}
        request = Request(address_of, json.dumps(body).encode() if body is not None else None, headers)
        with urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    deadline = time.monotonic() + 120
    while len(ask("histograms/tags")) < 2 and time.monotonic() < deadline:  # still reading
        time.sleep(0.1)
    yield place / "sweep", ask
    server.kill()
    server.communicate()


def test_every_scalar_is_there_step_by_step(board: tuple[Path, Ask]) -> None:
    sweep, ask = board
    runs = ask("scalars/tags")
    assert len(runs) == 2
    for run, tags in runs.items():
        columns = (sweep / run / "metrics.csv").read_text().splitlines()[0].split(",")
        assert set(tags) == set(columns) - {"step"}
        for tag in tags:
            steps = [step for _, step, _ in ask("scalars/scalars", run=run, tag=tag)]
            assert steps == ([1, 2, 4, 6] if tag.startswith("test/") else [1, 2, 3, 4, 5, 6])


def test_pictures_distributions_and_texts(board: tuple[Path, Ask]) -> None:
    sweep, ask = board
    for run, tags in ask("images/tags").items():
        shown = {f"pictures/{name}" for name in ("convergence", "trajectories", "confusion", "receptive_fields")}
        assert set(tags) == shown
        for tag in tags:
            steps = [each["step"] for each in ask("images/images", run=run, tag=tag, sample="0")]
            assert (steps[0], steps[-1]) == (1, 6)
        assert set(ask("histograms/tags")[run]) == {"population/p"}
        assert set(ask("text/tags")[run]) == {f"{what}/text_summary" for what in ("config", "command", "data")}
        (text,) = ask("text/text", run=run, tag="command/text_summary")
        assert summary(sweep / run)["command"].split()[-1] in text["text"]


def test_the_layout_opens_on_what_matters(board: tuple[Path, Ask]) -> None:
    _, ask = board
    (glance,) = ask("custom_scalars/layout")["category"]
    charts = {chart["title"]: chart["multiline"]["tag"] for chart in glance["chart"]}
    accuracies = charts["accuracy on the test set"]
    assert accuracies == [f"test/{name}$" for name in ("individuals", "modal", "mean_weights", "vote")]
    for run in ask("scalars/tags"):
        result = ask("custom_scalars/scalars", run=run, tag=accuracies[0])
        assert list(result["tag_to_events"]) == ["test/individuals"]


def test_the_table_of_hyperparameters_has_the_final_accuracy_of_every_run(board: tuple[Path, Ask]) -> None:
    sweep, ask = board
    experiment = ask("hparams/experiment", {"experimentName": ""})
    assert [metric["name"]["tag"] for metric in experiment["metricInfos"]] == ["test/individuals"]
    wanted: dict[str, Any] = {"colParams": [{"metric": metric["name"]} for metric in experiment["metricInfos"]]}
    wanted |= {"allowedStatuses": ["STATUS_SUCCESS"], "startIndex": 0, "sliceSize": 10}
    groups = ask("hparams/session_groups", wanted)["sessionGroups"]
    assert {group["hparams"]["seed"] for group in groups} == {0, 1}
    assert experiment["hparamInfos"][0]["name"] == "seed"  # what varies comes first
    for group in groups:
        assert group["hparams"]["learner.genes"] == 300
        (metric,) = group["metricValues"]
        run = sweep / group["name"]
        last = (run / "metrics.csv").read_text().splitlines()[-1].split(",")
        column = (run / "metrics.csv").read_text().splitlines()[0].split(",").index("test/individuals")
        assert metric["value"] == pytest.approx(float(last[column]), abs=1e-6)
