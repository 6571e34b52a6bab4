"""The CUDA kernels, run by a CPU that plays a GPU, against plain references; and compiled for real GPUs."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nne.fitness import reward, round_for_exact_sum, standardise
from nne.genome import draw, initial_frequencies
from nne.population.cuda import fused, genotypes
from nne.population.cuda.fused import SOURCE, STEP, Shape
from nne.population.cuda.networks import CudaPopulation
from nne.population.factory import populations
from nne.population.filters import drawn_patterns, filter_topology, painted_matrix
from nne.population.layout import ABSENT, in_steps
from nne.population.torch import Population
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io import compiler
from nne.training.parts import NetworkConfig
from tests.conftest import CPU, needs_compiler
from tests.shapes import Case, cases, dense_logits, logits_of, make, means_of

HERE = Path(__file__).parent
pytestmark = needs_compiler


@cache
def emulated(macros: tuple[tuple[str, int], ...]) -> ctypes.CDLL:
    """The kernels for these sizes, as a library for the CPU."""
    folder = Path(tempfile.mkdtemp())
    defined = [f"-D{name}={value}" for name, value in macros]
    flags = ["-std=c++20", "-O1", "-shared", "-fPIC", "-pthread", f"-I{SOURCE.parent}", *defined]
    line = [str(compiler.compiler()), *flags, str(HERE / "emulate.cpp"), "-o", str(folder / "kernels.so")]
    subprocess.run(line, check=True, capture_output=True, timeout=120)
    library = ctypes.CDLL(str(folder / "kernels.so"))
    shutil.rmtree(folder)
    return library


class EmulatedKernels:
    """``nne.population.cuda.driver.Kernels`` on the CPU."""

    def __init__(self, source: Path, macros: Mapping[str, int], device: torch.device) -> None:
        self.library = emulated(tuple(macros.items()))

    def launch(
        self, name: str, grid: tuple[int, ...], threads: int, *arguments: Tensor | int | float, shared: int = 0
    ) -> None:
        values: list[ctypes.c_void_p | ctypes.c_int | ctypes.c_float] = []
        for argument in arguments:
            if isinstance(argument, Tensor):
                assert argument.is_contiguous()
                values.append(ctypes.c_void_p(argument.data_ptr()))
            else:
                values.append(ctypes.c_int(argument) if isinstance(argument, int) else ctypes.c_float(argument))
        addresses = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        self.library.emulate(name.encode(), *(*grid, 1, 1)[:3], threads, shared, addresses)


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels by the CPU, on a GPU of two multiprocessors."""
    monkeypatch.setattr(fused, "Kernels", EmulatedKernels)
    monkeypatch.setattr(genotypes, "Kernels", EmulatedKernels)
    monkeypatch.setattr(fused, "limits", lambda device: (2, 200_000))
    yield
    genotypes._kernels.clear()


@settings(max_examples=8)
@given(st.integers(1, 600), st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 3))
def test_the_same_genotypes(genes: int, seed: int, start: int, count: int) -> None:
    p = initial_frequencies(genes, seed)
    p[::5], p[1::7] = 1.0, 0.0
    asked = p, seed, 3, range(start, start + count)
    genotypes._kernels.clear()
    expected = draw(*asked)
    genotypes.load(CPU)
    assert torch.equal(drawn(*asked), expected)


def drawn(p: Tensor, seed: int, generation: int, individuals: range) -> Tensor:
    """By the kernel, which ``draw`` prefers to the C++ one here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nne.population.cpp.kernel.loaded", lambda: False)
        return draw(p, seed, generation, individuals)


def as_bfloat16(values: Tensor) -> Tensor:
    """In float64 again."""
    return values.float().bfloat16().double()


def rounded(case: Case, x: Tensor) -> Tensor:
    """Logits ``[N, C, B]`` in float64, of weights, pixels and active units as the kernels round them."""
    (layer,) = case.topology.layers
    weights = case.W.g(x.double() @ case.W.dense().T.double())
    result = []
    for w in weights:
        full = torch.zeros(layer.sources, layer.units, dtype=torch.float64)
        full[layer.source, layer.unit] = as_bfloat16(w[: len(layer.unit)])
        h = as_bfloat16((as_bfloat16(case.images) @ full).relu())
        result.append((h @ as_bfloat16(w[len(layer.unit) :]).view(-1, case.topology.classes)).T)
    return torch.stack(result)


SHAPES = [Shape(*block, parts) for block in fused.BLOCKS for parts in (1, 2)]
QUICK = (Shape(4, 2, 1), Shape(2, 4, 2), Shape(2, 1, 1))


@pytest.mark.parametrize(
    "shape", [pytest.param(shape, marks=() if shape in QUICK else pytest.mark.slow) for shape in SHAPES]
)
@settings(max_examples=2)
@given(
    data=st.data(),
    individuals=st.integers(1, 40),
    frozen=st.booleans(),
)
def test_networks_are_those_of_float64(shape: Shape, data: st.DataObject, individuals: int, frozen: bool) -> None:
    case = data.draw(cases(["identity", "relu"], images=150, hidden=st.integers(1, 11)))
    p, y, free = case.p, case.images, torch.arange(0, len(case.p), 2)
    if frozen:
        p = p.round().index_copy(0, free, p[free])
    x = given_x = draw(p, case.seed, 0, range(individuals))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "best_shape", lambda *sizes: shape)
        population = CudaPopulation(case.topology, case.W, case.seen, CPU)
        if frozen:
            population.fold(p, free)
            given_x = torch.cat([x[:, free], x.new_ones(individuals, 1)], dim=1)
        expected = rounded(case, x)
        scale = max(float(expected.abs().max()), 1.0)
        assert float((logits_of(population, given_x, y) - expected).abs().max()) <= 1e-2 * scale
        labels = torch.arange(len(y)) % case.topology.classes
        result = population.rewards(given_x, population.gather(y), labels, 0.7)
    torch.testing.assert_close(result, reward(expected, labels, 0.7).sum(dim=1), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("shared", [True, False])
def test_filters_are_those_of_float64(shared: bool) -> None:
    network = NetworkConfig(filters=2, field=5, places=3, shared=shared)
    images = torch.rand(20, 196, generator=torch.Generator().manual_seed(0))
    topology = filter_topology(196, network, 4)
    W = painted_matrix(drawn_patterns(network, [6], 5, 1.0, classes=4, seed=1), network, images.mean(dim=0))
    x = torch.rand(9, W.n, generator=torch.Generator().manual_seed(1)) < 0.5
    lit = torch.cat([images, torch.ones(20, 1)], dim=1)
    case = Case(topology, W, torch.full((W.n,), 0.5, dtype=torch.float64), lit, 0)
    population = CudaPopulation(topology, W, case.seen, CPU)
    expected = rounded(case, x)
    found = population.logits(x, population.gather(images))
    assert float((found - expected).abs().max()) <= 1e-2 * float(expected.abs().max())
    labels = torch.arange(20) % 4
    result = population.rewards(x, population.gather(images), labels, 5.0)
    torch.testing.assert_close(result, reward(expected, labels, 5.0).sum(dim=1), rtol=1e-2, atol=1e-2)


@settings(max_examples=8)
@given(genes=st.integers(1, 600), individuals=st.integers(1, 150), rows=st.integers(1, 3), seed=st.integers(0, 99))
def test_sums_over_carriers_have_the_same_bits(genes: int, individuals: int, rows: int, seed: int) -> None:
    x = draw(initial_frequencies(genes, seed), seed, 0, range(individuals))
    figures = round_for_exact_sum(torch.randn(rows, individuals, generator=torch.Generator().manual_seed(seed)))
    genotypes.load(CPU)
    assert torch.equal(genotypes.carrier_sums(x, figures), figures @ x.double())


def test_bfloat16_selects_in_the_same_direction() -> None:
    """Fitness to within a hundredth of its spread, and the step of eq. (3) to within a cosine of 0.999."""
    case = make(60, 12, 10, 0.3, 50, 0.1, 64, 0, "identity")
    x, labels = case.genotypes(100), torch.arange(64) % 10
    exact = reward(dense_logits(case.topology, case.W, x, case.images), labels, 1.0).mean(dim=1)
    population = CudaPopulation(case.topology, case.W, case.seen, CPU)
    result = population.rewards(x, population.gather(case.images), labels, 1.0) / 64
    assert float((result - exact).abs().max() / exact.abs().mean()) < 1e-2
    steps = []
    for delta in (result, exact):
        means = means_of(x, standardise(delta))
        steps.append(case.p * (1 - case.p) * (means.f - means.f_bar))
    assert float(torch.cosine_similarity(steps[0], steps[1], dim=0)) > 0.999


@given(data=st.data(), hidden=st.integers(1, 12))
def test_every_edge_has_a_place_and_few_share_a_bank(data: st.DataObject, hidden: int) -> None:
    case = data.draw(cases(["identity"], images=2, hidden=st.just(hidden)))
    slots, place, first = in_steps(case.topology, case.seen, STEP)
    layer, cells = case.topology.first, slots[: place.numel()]
    used = cells != ABSENT
    assert torch.equal(cells[used].sort().values, case.seen[layer.source].nonzero()[:, 0])
    unit = torch.repeat_interleave(torch.arange(layer.units), first.diff() * STEP)
    assert torch.equal(unit[used], layer.unit[cells[used]])
    assert torch.equal(case.seen.nonzero()[:, 0][place.flatten()[used]], layer.source[cells[used]])
    sizes = torch.zeros(layer.units, 8).index_put((unit[used], place.flatten()[used] % 8), torch.ones(1), True)
    alike = torch.nn.functional.one_hot(torch.where(used, place.flatten() % 8, 8), 9)[:, :8].view(-1, 8, 8).sum(dim=1)
    most = (sizes.amax(dim=1) / (first.diff() * STEP / 8)).ceil().clamp(min=2)
    assert (alike.amax(dim=1) <= most[unit[::8]]).all()


def test_where_a_network_does_not_fit_pytorch_takes_its_place(
    small: Config, digits: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fused, "limits", lambda device: (2, 50_000))
    on_gpu = Compute(CPU, torch.bfloat16, backend="cuda")
    for networks in populations(small, digits, on_gpu):
        assert isinstance(networks, Population)
    assert "not by the project's own kernel: the network needs" in caplog.text
    with pytest.raises(UserError, match=r"^backend=cuda cannot be had: the network needs \d+ bytes"):
        populations(replace(small, backend="cuda"), digits, on_gpu)


def test_a_network_that_does_not_fit_says_so() -> None:
    assert fused.fitting(fused.Sizes(785, 10, 26), 232_448)[0] == (2, 4)  # an H100
    assert fused.fitting(fused.Sizes(785, 10, 26), 166_912)[0] == (2, 2)  # an A100
    with pytest.raises(UserError, match=r"needs \d+ bytes of shared memory, and the GPU has 101376"):
        fused.fitting(fused.Sizes(785, 10, 26), 101_376)  # a GPU for graphics


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no CUDA toolkit here")
@pytest.mark.parametrize(
    "capability", ["90", pytest.param("80", marks=pytest.mark.slow), pytest.param("100", marks=pytest.mark.slow)]
)
def test_it_compiles_for_real_gpus_without_spills(capability: str, tmp_path: Path) -> None:
    macros = [fused.Sizes(785, 10, 26).macros(*block) for block in fused.BLOCKS]
    for source, defined in [(genotypes.SOURCE, {}), *((SOURCE, each) for each in macros)]:
        given = [f"-D{name}={value}" for name, value in defined.items()]
        line = ["nvcc", "-std=c++17", f"-arch=sm_{capability}", *given, "-Xptxas", "-v", "-cubin"]
        made = subprocess.run([*line, "-o", str(tmp_path / "k"), str(source)], capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        assert made.stderr.count("0 bytes spill stores, 0 bytes spill loads") == 3


def test_the_order_of_sums_does_not_depend_on_how_many_genotypes_a_tile_has() -> None:
    case = make(inputs=20, hidden=1000, classes=10, probability=0.5, genes=10, beta=0.1, images=2, seed=0, g="identity")
    kernels = CudaPopulation(case.topology, case.W, case.seen, CPU).kernels
    for images in (60, 100, 500, 2000):
        assert len({kernels.shape(N, images).parts for N in (16, 100, 488, 512, 1000, 2048)}) == 1
    assert kernels.shape(1000, 100).parts > 1
