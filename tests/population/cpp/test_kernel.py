"""The C++ kernel against plain references: genotypes against PyTorch's, networks against dense float64 ones."""

import logging
from ctypes import CDLL
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nne.evolution import Evolution
from nne.fitness import carrier_sums
from nne.genome import draw, initial_frequencies
from nne.learners.network import NetworkEvolution
from nne.population.cpp import kernel
from nne.population.cpp.networks import KernelPopulation
from nne.population.weights import sparse_weight_matrix
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io import compiler
from nne.training.models.network import sparse_topology
from nne.training.parts import NetworkConfig
from tests.conftest import SMALL, Command, altered, needs_compiler, summary
from tests.shapes import Case, cases, dense_logits, logits_of

pytestmark = needs_compiler


@pytest.fixture(autouse=True, scope="module")
def compiled() -> None:
    """Where there is a compiler, it can compile the kernel."""
    assert kernel.load() is None


def by_pytorch(p: Tensor, *arguments: object) -> Tensor:
    """Genotypes drawn without the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_loaded", [])
        return draw(p, *arguments)  # type: ignore[arg-type]


@given(st.integers(1, 70), st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 9), st.booleans())
def test_the_same_genotypes(genes: int, seed: int, start: int, count: int, some: bool) -> None:
    p = initial_frequencies(genes, seed)
    p[::5], p[1::7] = 1.0, 0.0
    which = torch.arange(genes)[seed % 2 :: 2] if some else None
    p = p if which is None else p[which]
    asked = seed, 3, range(start, start + count), "genotypes", which
    assert torch.equal(draw(p, *asked), by_pytorch(p, *asked))


@settings(max_examples=60)
@given(cases(["identity", "relu"], images=140), st.integers(1, 300), st.booleans())
def test_logits_are_those_of_dense_float64_networks(case: Case, individuals: int, frozen: bool) -> None:
    p, y, free = case.p, case.images, torch.arange(0, len(case.p), 2)
    if frozen:
        p = p.round().index_copy(0, free, p[free])
    x = given_x = draw(p, case.seed, 0, range(individuals))
    population = KernelPopulation(case.topology, case.W, case.seen)
    if frozen:
        population.fold(p, free)
        given_x = torch.cat([x[:, free], x.new_ones(individuals, 1)], dim=1)
    some = slice(0, 40)  # a dense float64 network each
    expected = dense_logits(case.topology, case.W, x[some], y)
    result = logits_of(population, given_x, y)
    scale = max(float(expected.abs().max()), 1.0)
    assert float((result[some] - expected).abs().max()) <= 1e-5 * scale
    torch.testing.assert_close(result, population.dense_forward(x.double())(y), atol=1e-5 * scale, rtol=1e-5)


def test_the_paper_s_size_and_no_bit_depends_on_threads(digits: Dataset) -> None:
    images = digits.train_images[::4]
    topology = sparse_topology(784, NetworkConfig(), 10, 0)
    W = sparse_weight_matrix(topology.links, 2000, 0.0025, 0)
    x = draw(initial_frequencies(2000, 0), 0, 0, range(200))
    population = KernelPopulation(topology, W, images.amax(dim=0) > 0)
    result = logits_of(population, x, images)
    expected = dense_logits(topology, W, x[:20], images)
    assert float((result[:20] - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    assert torch.equal(logits_of(population, x[:20], images), result[:20])
    sums = carrier_sums([x], result[:, :2, 0].T)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        assert torch.equal(draw(initial_frequencies(2000, 0), 0, 0, range(200)), x)
        assert torch.equal(logits_of(population, x, images), result)
        assert torch.equal(carrier_sums([x], result[:, :2, 0].T), sums)
    finally:
        torch.set_num_threads(threads)


@given(st.integers(1, 40), st.integers(1, 3000), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=30)
def test_sums_over_carriers(individuals: int, genes: int, rows: int, seed: int) -> None:
    assert kernel.load() is None
    stream = torch.Generator().manual_seed(seed)
    x = torch.rand(individuals, genes, generator=stream) < 0.5
    values = torch.randn(rows, individuals, generator=stream, dtype=torch.float64)
    torch.testing.assert_close(carrier_sums(x.split(7), values), values @ x.double())


def test_evolution_goes_the_same_way(small: Config, digits: Dataset, fp32: Compute) -> None:
    learners = [
        NetworkEvolution(Config(**{**vars(altered(small, freeze=0.02)), "backend": backend}), digits, fp32)
        for backend in ("torch", "cpp")
    ]
    for _ in range(8):
        for learner in learners:
            learner.step()
    torch.testing.assert_close(learners[0].evolution.p, learners[1].evolution.p, atol=1e-3, rtol=0)
    seen = digits.test_images[:200], digits.test_labels[:200], 20
    ours, theirs = (learner.performance(*seen) for learner in learners)
    torch.testing.assert_close(ours.individuals, theirs.individuals, atol=0.02, rtol=0)
    assert ours.mean_weights == pytest.approx(theirs.mean_weights, abs=0.01)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("network.hidden=[20,10]", "one hidden layer"),
        ("network.cap=5", "no network.cap"),
        ("learner.expression=tanh", "the identity or relu"),
        ("dtype=bfloat16", "it computes in float32"),
    ],
)
def test_what_the_kernel_cannot_do_is_said(override: str, said: str, train: Command) -> None:
    done = train("experiment=nne_mnist10", *SMALL, "trainer.max_steps=1", override, "backend=cpp")
    assert done.returncode == 2
    assert done.stderr.startswith("error: backend=cpp cannot be had: ")
    assert said in done.stderr


@pytest.mark.slow
def test_without_a_compiler_pytorch_does_it(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    done = command("experiment=nne_mnist10", *SMALL, "trainer.max_steps=1", "run_dir=run")
    assert done.returncode == 0, done.stderr
    assert "by PyTorch, not by the project's own kernel: kernel.cpp could not be compiled" in done.stdout
    assert summary(tmp_path / "run")["backend"] == "torch"
    assert command("experiment=nne_mnist10", *SMALL, "trainer.max_steps=1", "backend=cpp").returncode == 2


def test_a_library_is_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "one.cpp"
    source.write_text('extern "C" int one() { return 1; }')
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            compiler._compiled.cache_clear()
            assert CDLL(str(compiler.compiled(source))).one() == 1
    assert caplog.text.count("compiled one.cpp") == 1
    source.write_text("no C++")
    compiler._compiled.cache_clear()
    with pytest.raises(UserError, match=r"could not compile one\.cpp"):
        compiler.compiled(source)
    assert len(list((tmp_path / "nne" / "kernels").glob("*.so"))) == 1


def test_evolution_for_any_fitness_has_the_same_bits_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel.load() is None
    library, found = list(kernel._loaded), []
    for loaded in (library, []):
        monkeypatch.setattr(kernel, "_loaded", loaded)
        evolution = Evolution(genes=500, population=100, epsilon=0.5)
        for _ in range(10):
            evolution.tell(evolution.ask().double().sqrt().sum(dim=1) ** 0.7)
        found.append(evolution.p)
    assert torch.equal(*found)
