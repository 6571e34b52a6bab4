"""The Triton kernels, interpreted on the CPU, against plain references; and compiled for real GPUs, without one."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks import gpu
from nne.fitness import reward, standardise
from nne.genome import draw, initial_frequencies
from nne.learners.network import NetworkEvolution
from nne.population.cpp import kernel
from nne.population.triton import fused
from nne.population.triton.networks import FusedPopulation
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.parts import NetworkConfig
from tests.conftest import REPOSITORY, SMALL, Command, altered
from tests.shapes import Case, cases, dense_logits, logits_of, make, means_of

CPU = torch.device("cpu")
pytest.importorskip("triton")


@pytest.fixture(autouse=True, scope="module")
def interpreted() -> None:
    assert fused.load(CPU) is None


def drawn_by(how: Callable[..., Tensor] | None, *arguments: object) -> Tensor:
    """Genotypes by the Triton kernel, or by PyTorch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "loaded", lambda: how is not None)
        patch.setattr(kernel, "draw", how)
        return draw(*arguments)  # type: ignore[arg-type]


@settings(max_examples=20)
@given(st.integers(1, 1100), st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 5))
def test_the_same_genotypes(genes: int, seed: int, start: int, count: int) -> None:
    p = initial_frequencies(genes, seed)
    p[::5], p[1::7] = 1.0, 0.0
    asked = p, seed, 3, range(start, start + count)
    assert torch.equal(drawn_by(fused.draw, *asked), drawn_by(None, *asked))


@settings(max_examples=8)
@given(cases(["identity", "relu"], images=70, hidden=st.integers(1, 6)), st.integers(1, 40), st.booleans())
def test_networks_are_dense_float64_ones(case: Case, individuals: int, frozen: bool) -> None:
    p, y, free = case.p, case.images, torch.arange(0, len(case.p), 2)
    if frozen:
        p = p.round().index_copy(0, free, p[free])
    x = given_x = draw(p, case.seed, 0, range(individuals))
    population = FusedPopulation(case.topology, case.W, case.seen, CPU, torch.float32)
    if frozen:
        population.fold(p, free)
        given_x = torch.cat([x[:, free], x.new_ones(individuals, 1)], dim=1)
    expected = dense_logits(case.topology, case.W, x, y)
    scale = max(float(expected.abs().max()), 1.0)
    assert float((logits_of(population, given_x, y) - expected).abs().max()) <= 1e-5 * scale
    labels = torch.arange(len(y)) % case.topology.classes
    result = population.rewards(given_x, population.gather(y), labels, 0.7)
    torch.testing.assert_close(result, reward(expected, labels, 0.7).sum(dim=1), rtol=1e-4, atol=1e-4)


def test_bfloat16_selects_in_the_same_direction() -> None:
    """Fitness to within a hundredth of its spread, and the step of eq. (3) to within a cosine of 0.999."""
    case = make(60, 12, 10, 0.3, 50, 0.1, 64, 0, "identity")
    x, labels = case.genotypes(100), torch.arange(64) % 10
    exact = reward(dense_logits(case.topology, case.W, x, case.images), labels, 1.0).mean(dim=1)
    population = FusedPopulation(case.topology, case.W, case.seen, CPU, torch.bfloat16)
    result = population.rewards(x, population.gather(case.images), labels, 1.0) / 64
    assert float((result - exact).abs().max() / exact.abs().mean()) < 1e-2
    steps = []
    for delta in (result, exact):
        means = means_of(x, standardise(delta))
        steps.append(case.p * (1 - case.p) * (means.f - means.f_bar))
    assert float(torch.cosine_similarity(steps[0], steps[1], dim=0)) > 0.999


def test_evolution_goes_the_same_way(small: Config, digits: Dataset, fp32: Compute) -> None:
    tiny = replace(altered(small, population=40, batch=20), network=NetworkConfig(hidden=6, beta=0.02))
    learners = [NetworkEvolution(replace(tiny, backend=backend), digits, fp32) for backend in ("triton", "torch")]
    assert learners[0].compute.backend == "triton"
    for learner in learners:
        learner.step()
    torch.testing.assert_close(learners[0].evolution.p, learners[1].evolution.p, rtol=1e-4, atol=1e-5)


def test_without_a_gpu_it_says_so(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    done = train("experiment=nne_mnist10", *SMALL, "backend=triton", "device=cpu")
    assert done.returncode == 2
    assert done.stderr.startswith("error: backend=triton cannot be had: it is for a GPU")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("capability", [80, 90])
def test_it_compiles_for_a_gpu(capability: int) -> None:
    """The shape and the number of warps that are launched; no register may be spilt to memory."""
    command = [
        sys.executable,
        str(REPOSITORY / "tests" / "population" / "triton" / "compile_kernel.py"),
        str(capability),
    ]
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


def test_the_benchmark_for_a_gpu_measures_every_path(
    monkeypatch: pytest.MonkeyPatch, small: Config, digits: Dataset, fp32: Compute
) -> None:
    tiny = replace(altered(small, population=20, batch=10), network=NetworkConfig(hidden=3, beta=0.02))
    monkeypatch.setattr(gpu, "composed", lambda *overrides: tiny)
    monkeypatch.setattr(gpu, "SIDE", 64)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    *rows, last = gpu.gpu(digits, fp32, repeats=1)
    assert len(rows) == 4
    assert all(float(str(row["seconds"])) > 0 for row in rows)
    assert float(str(last["share"])) > 0
