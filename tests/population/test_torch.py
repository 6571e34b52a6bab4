"""Topology, gene expression and the population's contraction, against a plain dense float64 network."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import nne.population.torch
from nne.fitness import reward, standardise
from nne.genome import draw, initial_frequencies
from nne.learners.config import EXPRESSIONS
from nne.population.base import Tiling
from nne.population.layout import ABSENT, by_hidden_unit
from nne.population.torch import Population
from nne.population.weights import EXPRESSIONS as EXPRESSION_FUNCTIONS
from nne.population.weights import WeightMatrix, sparse_weight_matrix
from nne.training.errors import UserError
from nne.training.models.network import Topology, sparse_topology
from nne.training.parts import NetworkConfig
from tests.shapes import Case, cases, dense_logits, logits_of, means_of, random_images

CPU = torch.device("cpu")


@settings(max_examples=40)
@given(
    cases(EXPRESSIONS, hidden=st.lists(st.integers(1, 25), min_size=1, max_size=3)), st.integers(1, 20), st.booleans()
)
def test_population_equals_dense_float64_networks(case: Case, individuals: int, capped: bool) -> None:
    cap = max(min(layer.units for layer in case.topology.layers) // 2, 1) if capped else None
    x = case.genotypes(individuals)
    population = Population(case.topology, case.W, case.seen, CPU, torch.float32, cap)
    expected = dense_logits(case.topology, case.W, x, case.images, cap)
    scale = max(float(expected.abs().max()), 1.0)
    assert float((logits_of(population, x, case.images) - expected).abs().max()) <= 1e-5 * scale


def test_out_of_memory_halves_the_tile_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    images = random_images(10, 784, 0)
    _, _, population = paper_size(0, torch.float32, images, genes=100)
    x, within = draw(initial_frequencies(100, 0), 0, 0, range(70)), population.logits
    expected = logits_of(population, x, images)

    def scarce(x: Tensor, seen: Any) -> Tensor:
        if len(x) > room:
            raise torch.OutOfMemoryError("no room")
        return within(x, seen)

    room = 20
    monkeypatch.setattr(population, "logits", scarce)
    torch.testing.assert_close(logits_of(population, x, images), expected)
    assert "out of memory: from now on 16 genotypes at once, not 32" in caplog.text
    room = 0
    with pytest.raises(UserError, match="one individual does not fit into the memory"):
        logits_of(population, x, images)


def test_every_expression_that_can_be_configured_exists() -> None:
    assert list(EXPRESSION_FUNCTIONS) == EXPRESSIONS
    w = torch.tensor([-2.0, 0.0, 3.0])
    assert EXPRESSION_FUNCTIONS["relu"](w.clone()).tolist() == [0.0, 0.0, 3.0]
    torch.testing.assert_close(EXPRESSION_FUNCTIONS["sigmoid"](w.clone()), 1 / (1 + torch.exp(-w)))
    torch.testing.assert_close(EXPRESSION_FUNCTIONS["tanh"](w.clone()), 2 / (1 + torch.exp(-2 * w)) - 1)


def paper_size(
    seed: int, dtype: torch.dtype, images: Tensor, genes: int = 2000
) -> tuple[Topology, WeightMatrix, Population]:
    topology = sparse_topology(784, NetworkConfig(), 10, seed)
    W = sparse_weight_matrix(topology.links, genes, 0.0025, seed)
    return topology, W, Population(topology, W, images.amax(dim=0) > 0, CPU, dtype)


def test_bfloat16_is_close_and_selects_the_same_way(digits) -> None:  # type: ignore[no-untyped-def]
    """Fitness within 1e-2, predictions the same but for near-ties, selection's direction within cos 0.999."""
    images, labels = digits.train_images[::4], digits.train_labels[::4]
    topology, W, population = paper_size(0, torch.bfloat16, images)
    x = draw(initial_frequencies(2000, 0), 0, 0, range(64))
    exact = dense_logits(topology, W, x, images)
    ours = logits_of(population, x, images)
    assert float((ours.argmax(dim=1) == exact.argmax(dim=1)).double().mean()) > 0.99
    delta = reward(ours, labels, 25.0).double().mean(dim=1)
    delta_exact = reward(exact, labels, 25.0).mean(dim=1)
    assert float((delta / delta_exact - 1).abs().max()) < 1e-2
    steps = []
    for fitness in (delta, delta_exact):
        means = means_of(x, standardise(fitness))
        steps.append(torch.where(means.polymorphic, means.f - means.f_bar, 0.0))
    assert float(torch.cosine_similarity(steps[0], steps[1], dim=0)) > 0.999


def test_tiles_and_chunks_change_nothing_but_rounding(digits, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    images = digits.train_images
    x = draw(initial_frequencies(500, 0), 0, 0, range(30))
    _, _, population = paper_size(0, torch.float32, images, genes=500)
    whole = logits_of(population, x, images)
    monkeypatch.setitem(nne.population.torch.TILING, "cpu", Tiling(genotypes=7, images=33, units=110, gathered=70))
    _, _, population = paper_size(0, torch.float32, images, genes=500)
    torch.testing.assert_close(logits_of(population, x, images), whole, rtol=1e-4, atol=1e-3)


def test_tiles_shrink_to_the_memory_there_is() -> None:
    tiling = Tiling(genotypes=64, images=128, units=100, gathered=2048)
    assert tiling.within(slots=80_000, bytes_each=4, memory=2**30) == tiling
    tight = tiling.within(slots=80_000, bytes_each=4, memory=10 * 320_000)
    assert (tight.genotypes, tight.gathered) == (10, 10)
    assert tiling.within(slots=80_000, bytes_each=4, memory=1).genotypes == 1


@settings(max_examples=50)
@given(st.integers(1, 20), st.integers(1, 15), st.floats(0.05, 1), st.integers(1, 6), st.integers(0, 10**6))
def test_layout_holds_every_seen_edge_once(inputs: int, hidden: int, probability: float, block: int, seed: int) -> None:
    topology = sparse_topology(inputs, NetworkConfig(hidden, probability), 3, seed)
    first = topology.first
    seen = torch.rand(inputs, generator=torch.Generator().manual_seed(seed)) < 0.7
    layout = by_hidden_unit(topology, seen, block)
    links = layout.slots[layout.slots != ABSENT]
    edges, outputs = links[links < topology.edges], links[links >= topology.edges]
    assert sorted(edges.tolist()) == seen[first.source].nonzero()[:, 0].tolist()
    assert sorted(outputs.tolist()) == list(range(topology.edges, topology.links))
    pixels = torch.cat([block.flatten() for block in layout.blocks])
    of_slot = layout.slots[: len(pixels)]
    assert torch.equal(pixels[of_slot != ABSENT], first.source[of_slot[of_slot != ABSENT]])
    assert bool((pixels[of_slot == ABSENT] == inputs).all())


def test_edges_are_independent_with_the_given_probability() -> None:
    layer = sparse_topology(784, NetworkConfig(), 10, 0).first
    count = len(layer.unit)
    assert abs(count - 78_400) < 5 * (784_000 * 0.1 * 0.9) ** 0.5
    degrees = torch.bincount(layer.source, minlength=784).double()
    assert abs(float(degrees.var()) / 90 - 1) < 0.3  # binomial: 1000 x 0.1 x 0.9


@given(st.integers(1, 40), st.integers(1, 30), st.floats(0.01, 1), st.integers(1, 10), st.integers(0, 10**6))
def test_weights_are_W_x(links: int, genes: int, beta: float, individuals: int, seed: int) -> None:
    W = sparse_weight_matrix(links, genes, beta, seed)
    x = torch.rand(individuals, genes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = W.to(CPU, torch.float64).weights(x)
    torch.testing.assert_close(weights, W.dense() @ x.T)


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.01, 1), st.integers(0, 10**6), st.sampled_from(EXPRESSIONS))
def test_folding_the_genes_that_no_longer_vary_changes_no_weight(
    links: int, n: int, beta: float, seed: int, g: str
) -> None:
    W = sparse_weight_matrix(links, n, beta, seed, g)
    stream = torch.Generator().manual_seed(seed)
    varies = torch.rand(n, generator=stream) < 0.5
    x = (torch.rand(5, n, generator=stream) < 0.5).double()
    x[:, ~varies] = x[0, ~varies]
    free = varies.nonzero()[:, 0]
    folded = W.folded(x[0], free)
    assert (folded.n, len(folded.values)) == (len(free) + 1, links + int(varies[W.genes].sum()))
    shorter = torch.cat([x[:, free], torch.ones(5, 1)], dim=1)
    torch.testing.assert_close(folded.weights(shorter), W.weights(x))


@given(st.lists(st.integers(-1, 9), min_size=1, max_size=30))
def test_rows_of_W_can_be_reordered_and_left_empty(links: list[int]) -> None:
    W = sparse_weight_matrix(10, 20, 0.3, 0)
    chosen = W.rows(torch.tensor(links)).dense()
    expected = torch.stack([torch.zeros(20, dtype=torch.float64) if i == ABSENT else W.dense()[i] for i in links])
    assert torch.equal(chosen, expected)


def test_W_has_the_density_and_the_entries_of_section_2() -> None:
    links, genes, beta = 20_000, 1000, 0.0025
    W = sparse_weight_matrix(links, genes, beta, 3)
    cells = links * genes
    assert abs(len(W.values) - cells * beta) < 5 * (cells * beta) ** 0.5
    assert abs(float(W.values.mean())) < 5 / (3 * len(W.values)) ** 0.5
    assert abs(float(W.values.square().mean()) - 1 / 3) < 0.01
    assert float(W.values.abs().max()) <= 1
    by_gene = torch.bincount(W.genes, minlength=genes).double()
    assert abs(float(by_gene.var()) / (links * beta) - 1) < 0.3  # binomial, nearly Poisson
    assert len(torch.unique(W.genes + genes * torch.repeat_interleave(torch.arange(links), W.offsets.diff()))) == len(
        W.genes
    )


def test_beta_of_one_gives_a_full_matrix() -> None:
    W = sparse_weight_matrix(5, 7, 1.0, 0)
    assert int((W.dense() != 0).sum()) == 35
