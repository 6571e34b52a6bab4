"""Credit by module: against loops over single networks, and that it is the total's, less what others add to it."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from nne.fitness import share_of_class
from nne.parts import Parts, means_by_part, sums_by_part
from nne.population.cpp import kernel
from nne.population.cpp.networks import KernelPopulation
from nne.population.filters import Patterns, drawn_patterns, filter_topology, painted_matrix, part_of
from nne.population.modules import FilterModules
from nne.population.torch import Population
from nne.population.weights import chosen_expression
from nne.training.models.filters import seen_by
from nne.training.parts import NetworkConfig

SIDE = 14


def images_of(count: int, classes: int) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(count)
    return torch.rand(count, SIDE**2, generator=stream), torch.randint(classes, (count,), generator=stream)


def written_out(patterns: Patterns, network: NetworkConfig, mean: Tensor, x: Tensor, images: Tensor) -> Tensor:
    """What class ``c`` of ``j`` hears of filter ``f`` of ``i`` at each place: ``[F, places, i, j, C, B]`` float64."""
    (seen,) = seen_by(len(mean), network)
    filters, classes = patterns.maps.shape[:2]
    heard = torch.zeros(filters, len(seen), len(x), len(x), classes, len(images), dtype=torch.float64)
    (of_filters,), of_classes = patterns.of_filters(x.double()), patterns.of_classes(x.double())
    for f in range(filters):
        for i in range(len(x)):
            kernels = (patterns.fields[0][f] @ of_filters[f, :, i, :, None])[:, :, 0].expand(len(seen), -1)
            maps = ((images - mean).double()[:, seen] * kernels).sum(dim=2).clamp(min=0)  # [B, places]
            for j in range(len(x)):
                for c in range(classes):
                    heard[f, :, i, j, c] = (maps * (patterns.maps[f, c] @ of_classes[f, c, j])).T
    return heard - heard.mean(dim=-1, keepdim=True)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(3, 5), st.integers(2, 5), st.booleans())
def test_each_module_is_judged_in_the_average_body(
    filters: int, genes: int, classes: int, N: int, shared: bool
) -> None:
    network = NetworkConfig(filters=filters, field=5, places=3, shared=shared)
    patterns = drawn_patterns(network, [genes], genes + 1, 1.0, classes, seed=1)
    images, labels = images_of(9, classes)
    mean, temperature = images.mean(dim=0), 5.0
    x = torch.rand(N, patterns.n, generator=torch.Generator().manual_seed(N)) < 0.5
    found = FilterModules(patterns, network, mean, centre=True).rewards(x, images, labels, temperature)
    by_place = written_out(patterns, network, mean, x, images) / temperature
    heard = by_place.sum(dim=1)  # [F, i, j, C, B]
    average = heard.mean(dim=(1, 2)).sum(dim=0)  # [C, B]
    fields = (by_place if not shared else heard[:, None]).flatten(0, 1)
    most = torch.tensor(classes).log() ** 2
    assert found.shape == (1 + len(fields) + filters * classes, N)
    for i in range(N):

        def reward(z: Tensor) -> float:
            return float((most - cross_entropy(z.T, labels, reduction="none")).clamp(min=0).mean())

        assert float(found[0, i]) == pytest.approx(reward(heard[:, i, i].sum(dim=0)), abs=1e-4)
        for k, field in enumerate(fields):
            in_average_body = average + field[i].mean(dim=0) - field.mean(dim=(0, 1))
            assert float(found[1 + k, i]) == pytest.approx(reward(in_average_body), abs=1e-4)
        for f in range(filters):
            for c in range(classes):
                z = average.clone()
                z[c] += heard[f, :, i, c].mean(dim=0) - heard[f, :, :, c].mean(dim=(0, 1))
                share = (z[c] * (labels == c) - z.logsumexp(dim=0)).mean()
                assert float(found[1 + len(fields) + c * filters + f, i]) == pytest.approx(float(share), abs=1e-4)


def test_of_individuals_alike_but_for_one_module_it_is_their_own() -> None:
    network = NetworkConfig(filters=3, field=5, places=3)
    patterns = drawn_patterns(network, [6], 5, 1.0, classes=4, seed=1)
    part = part_of(patterns, "module")
    images, labels = images_of(20, 4)
    modules = FilterModules(patterns, network, images.mean(dim=0), centre=True)
    stream = torch.Generator().manual_seed(0)
    one, others = torch.rand(2, 8, patterns.n, generator=stream) < 0.5
    for k in (1, 3, 4, 11, 15):
        x = torch.where(part == k, others, one[:1])
        found = modules.rewards(x, images, labels, temperature=5.0)
        own, *_ = modules.logits(x, images)
        expected = found[0] if k <= 3 else share_of_class(own / 5.0, labels)[(k - 4) // 3]
        assert float(expected.std()) > 1e-3
        torch.testing.assert_close(found[k], expected, rtol=0, atol=1e-5)
        still = [row for row in range(1, 16) if row != k]
        assert float(found[still].std(dim=1).max()) < 1e-6


@pytest.mark.parametrize("shared", [True, False])
def test_with_a_cap_units_fire_that_would_in_the_average_body(shared: bool) -> None:
    """Against sorting in float64."""
    network = NetworkConfig(filters=3, field=5, places=3, shared=shared, cap=7)
    patterns = drawn_patterns(network, [4], 3, 1.0, classes=3, seed=1)
    images, _ = images_of(8, 3)
    N, mean = 5, images.mean(dim=0)
    x = torch.rand(N, patterns.n, generator=torch.Generator().manual_seed(1)) < 0.5
    modules = FilterModules(patterns, network, mean, centre=True)
    own, _, fields, readouts = modules.logits(x, images)
    (seen,), (of_filters,) = seen_by(len(mean), network), patterns.of_filters(x.double())
    kernels = torch.einsum("fksg,fkng->nfks", patterns.fields[0], of_filters).expand(-1, -1, len(seen), -1)
    units = torch.einsum("nfps,bps->nfpb", kernels, (images - mean).double()[:, seen]).clamp(min=0)
    read = torch.einsum("fcpg,fcng->nfcp", patterns.maps, patterns.of_classes(x.double()))

    def fired(layer: Tensor, by: Tensor) -> Tensor:  # [F, P, B] both
        return torch.where(layer >= by.flatten(0, 1).sort(dim=0, descending=True).values[6], layer, 0.0)

    def centred(logits: Tensor) -> Tensor:
        return logits - logits.mean(dim=1, keepdim=True)

    average = units.mean(dim=0)
    left = torch.stack([fired(units[i], by=average) for i in range(N)])
    assert int((fired(units[0], by=units[0]) > 0).sum(dim=(0, 1)).max()) == 7
    for i in range(N):
        expected = torch.einsum("fcp,fpb->cb", read[i], fired(units[i], by=units[i]))
        torch.testing.assert_close(own[i].double(), centred(expected), rtol=0, atol=1e-4)
        for f in range(3):
            by_place = read[:, f].mean(dim=0)[:, :, None] * left[i, f]  # [C, P, B]
            heard = fields[f][i] if shared else sum(fields[f * 9 + place][i] for place in range(9))
            torch.testing.assert_close(heard.double(), centred(by_place.sum(dim=1)), rtol=0, atol=1e-4)
            expected = read[i, f] @ left[:, f].mean(dim=0)
            torch.testing.assert_close(readouts[f][i].double(), centred(expected), rtol=0, atol=1e-4)


NETWORKS = [
    {"filters": 3, "field": 5, "places": 3, "cap": 7},
    {"filters": 3, "field": 5, "places": 3, "shared": False},
    {"filters": [3, 2], "field": [5, 2], "places": [4, 3]},
]


@pytest.mark.parametrize("expression", ["identity", "relu", "tanh"])
@pytest.mark.parametrize("given", NETWORKS)
def test_an_individual_s_own_logits_are_those_of_the_graph_and_g(expression: str, given: dict[str, Any]) -> None:
    network = NetworkConfig(**given)
    patterns = drawn_patterns(network, [4] * len(network.grids), 3, 1.0, classes=3, seed=1)
    images, _ = images_of(8, 3)
    mean = images.mean(dim=0)
    x = torch.rand(5, patterns.n, generator=torch.Generator().manual_seed(1)) < 0.5
    taken = None if expression == "identity" else mean
    topology = filter_topology(SIDE**2, network, 3, taken)
    W = painted_matrix(patterns, network, mean, expression)
    lit = torch.ones(topology.first.sources, dtype=torch.bool)
    population = Population(topology, W, lit, torch.device("cpu"), torch.float32, network.cap)
    g = chosen_expression(expression)
    own, *_ = FilterModules(patterns, network, mean, centre=False, g=g).logits(x, images)
    torch.testing.assert_close(own, population.logits(x, population.gather(images)), rtol=1e-4, atol=1e-4)
    if expression != "tanh" and network.cap is None and len(network.grids) == 1 and kernel.load() is None:
        compiled = KernelPopulation(topology, W, lit)
        torch.testing.assert_close(compiled.logits(x, compiled.gather(images)), own, rtol=1e-4, atol=1e-4)


def test_filters_of_two_layers_are_judged_in_the_average_body() -> None:
    """Against loops over single networks in float64."""
    network = NetworkConfig(filters=[2, 3], field=[5, 2], places=[4, 3])
    patterns = drawn_patterns(network, [4, 3], 2, 1.0, classes=3, seed=1)
    images, labels = images_of(8, 3)
    N, mean = 4, images.mean(dim=0)
    x = torch.rand(N, patterns.n, generator=torch.Generator().manual_seed(1)) < 0.5
    found = FilterModules(patterns, network, mean, centre=True).rewards(x, images, labels, temperature=5.0)
    pixels, cells = seen_by(len(mean), network)
    of_filters, of_classes = patterns.of_filters(x.double()), patterns.of_classes(x.double())
    first, second = (
        torch.einsum("fksg,fkng->nfks", painted, of) for painted, of in zip(patterns.fields, of_filters, strict=True)
    )
    read = torch.einsum("fcpg,fcng->nfcp", patterns.maps, of_classes)

    def below(kernels: Tensor) -> Tensor:  # [1, r^2] -> [places, B]
        return (kernels[0] @ (images - mean).double()[:, pixels].permute(1, 2, 0)).clamp(min=0)

    def above(kernels: Tensor, maps: Tensor) -> Tensor:  # [F, r^2], [F, places, B] -> [places, B]
        return torch.einsum("fs,fpsb->pb", kernels, maps[:, cells]).clamp(min=0)

    def heard(read: Tensor, maps: Tensor) -> Tensor:  # [F, C, P], [F, P, B] -> [C, B]
        logits = torch.einsum("fcp,fpb->cb", read, maps) / 5.0
        return logits - logits.mean(dim=1, keepdim=True)

    def reward(z: Tensor) -> float:
        return float((torch.tensor(3.0).log() ** 2 - cross_entropy(z.T, labels, reduction="none")).clamp(min=0).mean())

    maps = torch.stack([torch.stack([below(first[i, f]) for f in range(2)]) for i in range(N)])
    average = maps.mean(dim=0)
    tops = torch.stack([torch.stack([above(second[i, e], average) for e in range(3)]) for i in range(N)])
    average_read = read.mean(dim=0)
    m = heard(average_read, tops.mean(dim=0))
    for i in range(N):
        own = torch.stack([above(second[i, e], maps[i]) for e in range(3)])
        assert float(found[0, i]) == pytest.approx(reward(heard(read[i], own)), abs=1e-4)
        for f in range(2):
            seen = average.clone()
            seen[f] = maps[i, f]
            body = torch.stack([above(second[:, e].mean(dim=0), seen) for e in range(3)])
            assert float(found[1 + f, i]) == pytest.approx(reward(heard(average_read, body)), abs=1e-4)
        for e in range(3):
            body = tops.mean(dim=0).clone()
            body[e] = tops[i, e]
            assert float(found[3 + e, i]) == pytest.approx(reward(heard(average_read, body)), abs=1e-4)
            for c in range(3):
                z = m.clone()
                z[c] += heard(read[i, [e]] - average_read[[e]], tops.mean(dim=0)[[e]])[c]
                share = (z[c] * (labels == c) - z.logsumexp(dim=0)).mean()
                assert float(found[6 + 3 * c + e, i]) == pytest.approx(float(share), abs=1e-4)


def test_in_two_layers_it_is_their_own_too() -> None:
    """And their logits are those of the graph and ``W``."""
    network = NetworkConfig(filters=[3, 2], field=[5, 2], places=[4, 3])
    patterns = drawn_patterns(network, [6, 4], 5, 1.0, classes=4, seed=1)
    part = part_of(patterns, "module")
    images, labels = images_of(20, 4)
    mean = images.mean(dim=0)
    W, topology = painted_matrix(patterns, network, mean), filter_topology(SIDE**2, network, 4)
    population = Population(topology, W, torch.ones(SIDE**2 + 1, dtype=torch.bool), torch.device("cpu"), torch.float32)
    modules = FilterModules(patterns, network, mean, centre=True)
    one, others = torch.rand(2, 8, patterns.n, generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.bincount(part).tolist() == [0, *[6] * 3, *[12] * 2, *[5] * 8]
    for k in range(1, 14):
        x = torch.where(part == k, others, one[:1])
        found = modules.rewards(x, images, labels, temperature=5.0)
        own, *_ = modules.logits(x, images)
        by_graph = population.logits(x, population.gather(images))
        torch.testing.assert_close(own, by_graph - by_graph.mean(dim=2, keepdim=True), rtol=1e-4, atol=1e-4)
        expected = found[0] if k <= 5 else share_of_class(own / 5.0, labels)[(k - 6) // 2]
        assert float(expected.std()) > 1e-4
        torch.testing.assert_close(found[k], expected, rtol=0, atol=1e-5)
        still = [row for row in range(1, 14) if row != k]
        assert float(found[still].std(dim=1).max()) < 1e-6


def test_it_is_the_credit_of_the_total_without_what_others_add() -> None:
    """Over all genotypes, where softmax is linear: the same ``f - f_bar`` for each allele, from less variance."""
    network = NetworkConfig(filters=2, field=5, places=3)
    patterns = drawn_patterns(network, [2], 1, 1.0, classes=3, seed=1)
    images, labels = images_of(12, 3)
    every = (torch.arange(2**patterns.n)[:, None] >> torch.arange(patterns.n)) % 2 > 0
    modules = FilterModules(patterns, network, images.mean(dim=0), centre=True)
    rewards = modules.rewards(every, images, labels, temperature=2e3)
    part = part_of(patterns, "module")

    def effects(part: Tensor) -> tuple[Tensor, Tensor]:
        means = means_by_part(
            rewards, Parts(part, len(rewards)), lambda rows, parts: sums_by_part([every], rows, parts)
        )
        return means.f - means.f_bar, means.variance

    by_module, of_module = effects(part)
    by_total, of_total = effects(torch.zeros_like(part))
    torch.testing.assert_close(by_module, by_total, rtol=0.02, atol=float(by_total.abs().max()) * 0.01)
    assert bool((of_module < 0.7 * of_total).all())
