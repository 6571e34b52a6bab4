"""Every learner on a GPU that is not there (``tests/pretended``): nothing mixed, the same bits, few waits a step."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import HANGS, REPOSITORY, SMALL, call, environment, needs_compiler

pytestmark = [needs_compiler, pytest.mark.skipif(torch.cuda.is_available(), reason="there is a real one")]
DIGITS = ["data=embedded", "data.per_class=20"]
FILTERS = ["network.filters=2", "learner.genes=1400", "learner.filter_genes=200", "learner.population=20"]
LAYERS = ["network.filters=[2,3]", "network.field=[7,2]", "network.places=[4,3]"]
DEEP = [*LAYERS, "learner.genes=206", "learner.filter_genes=[10,6]", "learner.population=20"]
OTHERWISE = ["network.cap=50", "learner.groups=2", "learner.expression=tanh"]
APART = ["learner.class_genes=10", "learner.credit=class", "learner.groups=2", "learner.batch=20"]
EVOLVING = ["experiment=nne_mnist10", *SMALL]
CASES: dict[str, tuple[list[str], float, float]] = {  # overrides; waits and uploads that a step may have
    "evolution": (EVOLVING, 1, 1),
    "gradient": (["experiment=sgd_mnist10", *DIGITS, "network.hidden=40"], 1, 1),
    "primal": (["experiment=dnn_h1000", *DIGITS, "features.width=100", "learner.path=primal"], 1, 2),
    "freezing": ([*EVOLVING, "learner.freeze=0.3"], 5, 5),
    "deeper": ([*EVOLVING, "network.hidden=[30,20]", "network.cap=10"], 1, 1),
    "ridge": ([*EVOLVING, "learner.selection=ridge"], 1, 1),
    "adam": ([*EVOLVING, "learner.selection=adam"], 1, 1),
    "filters": (["experiment=nne_filters_mnist10", *DIGITS, *FILTERS], 1, 2),
    "deep_filters": (["experiment=nne_deep_filters_mnist10", *DIGITS, *DEEP], 1, 2),
    "capped_filters": (["experiment=nne_filters_mnist10", *DIGITS, *FILTERS, *OTHERWISE], 1, 2),
    "apart": ([*EVOLVING, *APART], 1, 2),
    "filters_by_gradients": (["experiment=adam_filters_mnist10", *DIGITS, *LAYERS], 1, 3),
    "module": (["experiment=nne_cnn", *DIGITS, "learner.genes=100", "learner.population=10"], 1, 1),
    "linear": (["experiment=nne_linear", "learner.genes=500"], 2, 0),
    "feedback": (["experiment=kp_mnist10", *DIGITS, "network.hidden=[30,20]"], 1, 1),
    "perturbation": (["experiment=np_mnist10", *DIGITS, "network.hidden=40", "learner.batch=200"], 1, 5),
    "equilibrium": (["experiment=ep_mnist10", *DIGITS, "network.hidden=40"], 1, 1),
    "forward_forward": (["experiment=ff_mnist10", *DIGITS, "network.hidden=40", "learner.batch=200"], 1, 3),
    "target_propagation": (["experiment=dtp_mnist10", *DIGITS, "network.hidden=[30,20]", "learner.batch=200"], 1, 2),
    "reward_stdp": (["experiment=rstdp_mnist10", *DIGITS, "learner.neurons=5", "learner.batch=200"], 1, 2),
    "competing": (["experiment=kh_mnist10", *DIGITS, "features.width=60", "features.epochs=2"], 1, 1),
    "features": (["experiment=adam_features_h1000", *DIGITS, "features.width=100"], 1, 0),
    "dual": (["experiment=dnn_reward_h1000", *DIGITS, "features.width=100"], 0, 0),
}
QUICK = ("evolution",)


def told(module: str, *arguments: str) -> Any:
    line = [sys.executable, "-m", f"tests.pretended.{module}", *arguments]
    done = subprocess.run(line, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
)
def test_a_learner_finds_the_same_and_waits_no_more_than_it_must(case: str) -> None:
    overrides, waits, uploads = CASES[case]
    result = told("learn", *overrides)
    assert result["same"]
    assert result["waits"] <= waits, result["where"]
    assert result["uploads"] <= uploads, result["where"]


@pytest.mark.slow
def test_finetuning_finds_the_same(tmp_path: Path) -> None:
    assert call("train", *EVOLVING, "trainer.max_steps=3", "run_dir=run", cwd=tmp_path).returncode == 0
    network = ["network.hidden=40", "network.beta=0.02", "learner.individuals=3", "learner.batch=20"]
    result = told("learn", "experiment=nne_signsgd_mnist10", *DIGITS, *network, f"learner.evolved={tmp_path / 'run'}")
    assert result["same"]
    assert result["waits"] <= 1, result["where"]
    assert result["uploads"] <= 1, result["where"]


def test_what_a_gpu_refuses_is_refused_and_what_it_waits_for_is_counted() -> None:
    assert told("faults") == []


@pytest.mark.slow
def test_the_benchmark_for_a_gpu_goes_on_where_a_part_fails(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.pretended.benchmark", str(tmp_path / "found.json")]
    done = subprocess.run(line, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    failed = [row["part"] for row in rows if "failed" in row]
    measured = {(row["path"], row["part"]) for row in rows if "failed" not in row}
    assert all(part.startswith(("generation by cuda", "difference", "dense")) for part in failed), rows
    assert {
        ("rank-1 ES", "a step, its draws by the CPU, ms"),
        ("torch", "a generation, ms"),
        ("torch", "a generation of 50, ms"),
    } <= measured
    assert {("torch", "generation of nne_apart_mnist10, ms"), ("torch", "epoch of sgd_mnist10, ms")} <= measured
    whole = {part for _, part in measured if part.startswith("nne_mnist10")}
    assert whole == {f"nne_mnist10{rest}" for rest in (" to 1.0%, s", " to its end, s", ", % of the test images")}
