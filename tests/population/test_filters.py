"""Filters: their graph and ``W`` against convolutions written out, their patterns, and what is made of images."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d, softmax

from nne.fitness import share_of_class
from nne.population.cpp import kernel
from nne.population.cpp.networks import KernelPopulation
from nne.population.filters import drawn_patterns, filter_topology, painted_matrix, part_of
from nne.population.torch import Population
from nne.population.weights import sparse_weight_matrix
from nne.training.data.datasets import Dataset
from nne.training.data.jitter import jittered
from nne.training.errors import UserError
from nne.training.models.filters import FilterNetwork, fields, smooth_patterns
from nne.training.parts import Grid, NetworkConfig
from nne.training.seeding import generator

CPU = torch.device("cpu")


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 3), st.integers(2, 6), st.integers(2, 5), st.integers(1, 4), st.booleans(), st.booleans())
def test_the_networks_are_convolutions_of_centred_images(
    filters: int, field: int, places: int, class_genes: int, compiled: bool, shared: bool
) -> None:
    side, classes, filter_genes = 14, 3, 4
    network = NetworkConfig(filters=filters, field=field, places=places, shared=shared)
    stream = torch.Generator().manual_seed(filters)
    images = torch.rand(7, side * side, generator=stream)
    mean = images.double().mean(dim=0)
    topology = filter_topology(side * side, network, classes)
    W = painted_matrix(drawn_patterns(network, [filter_genes], class_genes, 1.0, classes, seed=1), network, mean)
    x = torch.rand(5, W.n, generator=stream) < 0.5
    lit = torch.ones(side * side + 1, dtype=torch.bool)
    if compiled and kernel.load() is None:
        population: Any = KernelPopulation(topology, W, lit)
    else:
        population = Population(topology, W, lit, CPU, torch.float32)
    found = population.logits(x, population.gather(images))
    starts = torch.linspace(1, side - 1 - field, places).round().long()
    weights = W.dense() @ x.double().T  # [links, N]
    hidden, outputs = weights[: topology.edges], weights[topology.edges :]
    for i in range(len(x)):
        own = hidden[:, i].view(filters, places**2, field**2 + 1)
        same = torch.equal(own[:, :, :-1], own[:, :1, :-1].expand(-1, places**2, -1))
        assert same if shared else not same
        kernels = own[:, :, :-1].reshape(-1, 1, field, field)
        assert float(kernels.sum(dim=(1, 2, 3)).abs().max()) < 1e-9
        centred = (images.double() - mean).view(-1, 1, side, side)
        everywhere = conv2d(centred, kernels)[:, :, starts][:, :, :, starts].view(len(images), filters, places**2, -1)
        maps = everywhere.diagonal(dim1=2, dim2=3).relu().flatten(1)  # of each place's kernel, what it sees there
        expected = maps @ outputs[:, i].view(-1, classes)
        torch.testing.assert_close(found[i].T.double(), expected, rtol=1e-4, atol=1e-4)
        module = population.as_module(x[i].float())
        torch.testing.assert_close(module(images).double(), expected, rtol=1e-4, atol=1e-4)
    dense = population.dense_forward(x.float())(images)
    torch.testing.assert_close(dense, found, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_two_layers_are_convolutions_of_convolutions(
    filters: int, above: int, field: int, genes: int, class_genes: int
) -> None:
    side, classes, places = 14, 3, 5
    network = NetworkConfig(filters=[filters, above], field=[4, field], places=[places, places - field + 1])
    images = torch.rand(7, side * side, generator=torch.Generator().manual_seed(filters))
    mean = images.double().mean(dim=0)
    topology = filter_topology(side * side, network, classes)
    patterns = drawn_patterns(network, [3, genes], class_genes, 1.0, classes, seed=1)
    W = painted_matrix(patterns, network, mean)
    x = torch.rand(5, W.n, generator=torch.Generator().manual_seed(above)) < 0.5
    population = Population(topology, W, torch.ones(side * side + 1, dtype=torch.bool), CPU, torch.float32)
    found = population.logits(x, population.gather(images))
    starts = torch.linspace(1, side - 1 - 4, places).round().long()
    (of_first, of_second), of_classes = patterns.of_filters(x.double()), patterns.of_classes(x.double())
    for i in range(len(x)):
        kernels = torch.einsum("fksg,fkg->fks", patterns.fields[0], of_first[:, :, i]).view(-1, 1, 4, 4)
        second = torch.einsum("fksg,fkg->fks", patterns.fields[1], of_second[:, :, i]).view(above, -1, field, field)
        assert float(second.sum(dim=(2, 3)).abs().max()) < 1e-9
        centred = (images.double() - mean).view(-1, 1, side, side)
        maps = conv2d(centred, kernels)[:, :, starts][:, :, :, starts].relu()
        maps = conv2d(maps, second).relu().flatten(2)
        expected = torch.einsum("bfp,fcpg,fcg->bc", maps, patterns.maps, of_classes[:, :, i])
        torch.testing.assert_close(found[i].T.double(), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(population.as_module(x[i].float())(images).double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(population.dense_forward(x.float())(images), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(filters=3, field=4, places=3),
        NetworkConfig(filters=3, field=4, places=3, shared=False),
        NetworkConfig(filters=[3, 2], field=[4, 2], places=[5, 3]),
    ],
)
def test_what_gradients_train_is_the_same_network(network: NetworkConfig) -> None:
    images = torch.rand(6, 196, generator=torch.Generator().manual_seed(0))
    trained = FilterNetwork(images.mean(dim=0), network, classes=5, seed=1)
    with torch.no_grad():
        for biases in trained.biases:
            number = torch.arange(1.0, 1 + biases.numel()).view_as(biases)
            biases.add_(0.1 * number.cos())
        trained.outputs.bias.add_(1)
    torch.testing.assert_close(trained.as_module()(images), trained(images)[0])
    first, *_ = trained.kernels
    assert float(first.detach().sum(dim=1).abs().max()) < 1e-5
    assert len(first) == (1 if network.shared else 9)
    network.frozen = True
    learnt = FilterNetwork(images.mean(dim=0), network, 5, seed=1).named_parameters()
    assert {name for name, weights in learnt if weights.requires_grad} == {"outputs.weight", "outputs.bias"}


def test_what_places_have_in_common_is_found() -> None:
    network = NetworkConfig(filters=2, field=3, places=3)
    topology = filter_topology(196, network, 3)
    mean = torch.rand(196, generator=torch.Generator().manual_seed(0))
    patterns = drawn_patterns(network, [4], 5, 1.0, classes=3, seed=0)
    W = painted_matrix(patterns, network, mean)
    of_filter = [0] + [9] * 8  # all but the link to the pixel that is always 1
    assert kernel.alike(topology.first, W).tolist() == of_filter * 2
    without = painted_matrix(patterns, network, torch.zeros(196))
    assert kernel.alike(topology.first, without).tolist() == [0, *[10] * 8] * 2
    random = sparse_weight_matrix(topology.links, 50, 0.2, seed=0)
    assert kernel.alike(topology.first, random).tolist() == [0] * 18


def test_a_class_reads_through_genes_of_its_own() -> None:
    network = NetworkConfig(filters=2, field=3, places=3)
    patterns = drawn_patterns(network, [4], 5, 1.0, classes=3, seed=0)
    W = painted_matrix(patterns, network, torch.zeros(196))
    part = part_of(patterns, "class")
    edges = filter_topology(196, network, 3).edges
    touched = W.dense() != 0
    assert W.n == len(part) == 2 * 4 + 3 * 2 * 5
    assert bool((part[touched[:edges].any(dim=0)] == 0).all())
    for c in range(3):
        assert bool((part[touched[edges + c :: 3].any(dim=0)] == 1 + c).all())


def test_fields_are_spread_over_the_image_and_inside_a_border() -> None:
    seen = fields(28, Grid(1, 7, 10), border=1)
    rows, columns = seen // 28, seen % 28
    assert seen.shape == (100, 49)
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (1, 26, 1, 26)


def test_patterns_are_smooth_and_of_one_size() -> None:
    rough, smooth = (smooth_patterns(12, 400, width, torch.Generator().manual_seed(0)) for width in (0.0, 1.0))
    assert float(smooth.std()) == pytest.approx(float(rough.std()), rel=0.05)

    def between_neighbours(patterns: torch.Tensor) -> float:
        grid = patterns.view(12, 12, -1)
        return float(torch.corrcoef(torch.stack([grid[:, 1:].flatten(), grid[:, :-1].flatten()]))[0, 1])

    assert abs(between_neighbours(rough)) < 0.05
    assert between_neighbours(smooth) > 0.6


@given(st.integers(2, 6), st.integers(2, 5), st.integers(1, 7))
def test_the_share_of_a_class_is_that_of_its_equation(N: int, C: int, B: int) -> None:
    stream = torch.Generator().manual_seed(N * C * B)
    logits = torch.randn(N, C, B, generator=stream, dtype=torch.float64)
    labels = torch.randint(C, (B,), generator=stream)
    found = share_of_class(logits, labels)
    mean = logits.mean(dim=0)
    for c in range(C):
        for i in range(N):
            each = 0.0
            for b in range(B):
                z = mean[:, b].clone()
                z[c] = logits[i, c, b]
                each += float(z[c] * (labels[b] == c) - z.logsumexp(dim=0))
            assert float(found[c, i]) == pytest.approx(each / B, abs=1e-5)
            if C == 2 and int(labels[0]) == c and B == 1:
                own = torch.stack([mean[:, 0].index_fill(0, torch.tensor([c]), float(logits[i, c, 0]))])
                assert float(found[c, i]) == pytest.approx(float(softmax(own, dim=1)[0, c].log()), abs=1e-5)


def test_jittered_images_are_near_what_they_were(digits: Dataset) -> None:
    images = digits.train_images[:50]
    again, other = (jittered(images, 1.0, generator(0, "jitter", step)) for step in (0, 1))
    assert torch.equal(again, jittered(images, 1.0, generator(0, "jitter", 0)))
    assert not torch.equal(again, other)
    assert torch.equal(jittered(images, 0.0, generator(0, "jitter", 0)), images)
    assert again.shape == images.shape
    assert 0 <= float(again.min()) <= float(again.max()) <= 1 + 1e-6

    def alike(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.cosine_similarity(a, b, dim=1).mean())

    near = alike(images, jittered(images, 0.2, generator(0, "jitter", 0)))
    assert near > alike(images, again) > alike(images, images.roll(1, dims=0)) + 0.1
    with pytest.raises(UserError, match="square images of one colour, got 3072 pixels"):
        jittered(torch.rand(2, 3072), 1.0, generator(0, "jitter", 0))
