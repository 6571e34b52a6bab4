"""Hidden layers that learn: their updates against loops over single units, what is kept, and what they are made of."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dnn import hebbian
from dnn.hebbian import AssemblyFeatures, CompetingFeatures, assembly_weights, competing_change, hidden_layer
from nne.training.data.datasets import Dataset
from nne.training.parts import FeaturesConfig


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hebbian, "user_cache", lambda: tmp_path)
    return tmp_path


def test_the_first_unit_moves_towards_an_image_and_the_second_away() -> None:
    stream = torch.Generator().manual_seed(0)
    w, v = (torch.randn(n, 6, generator=stream, dtype=torch.float64) for n in (5, 8))
    expected = torch.zeros_like(w)
    for image in v:
        current = [float(unit @ image) for unit in w]
        first, second = sorted(range(5), key=lambda j: -current[j])[:2]
        for unit, g in ((first, 1.0), (second, -0.4)):
            expected[unit] += g * (image - current[unit] * w[unit])
    torch.testing.assert_close(competing_change(w, v), expected)


def test_competing_units_come_to_have_length_one(digits: Dataset) -> None:
    config = FeaturesConfig(width=30, rule="competing", epochs=300, eta=0.2)
    layer = hidden_layer(config, 0, digits, torch.float32)
    assert isinstance(layer, CompetingFeatures)
    lengths = layer.weights.norm(dim=0)
    winners = lengths[(lengths - 1).abs() < 0.1]
    assert len(winners) >= 5
    assert len({tuple(row) for row in layer.weights.T.tolist()}) == 30


def test_synapses_from_what_fired_grow_and_each_unit_keeps_its_sum() -> None:
    w, image = torch.tensor([[0.2, 0.0], [0.3, 0.5], [0.5, 0.5]]), torch.tensor([1.0, 0.0, 1.0])
    grown = assembly_weights(w, image, 0.1)
    torch.testing.assert_close(grown.sum(dim=0), w.sum(dim=0))
    assert grown[0, 1] == 0
    torch.testing.assert_close(grown[0, 0] / grown[1, 0], 1.1 * w[0, 0] / w[1, 0])


def test_an_assembly_s_units_are_a_cap_on_bright_pixels(digits: Dataset) -> None:
    config = FeaturesConfig(width=50, rule="assemblies", cap=10, eta=0.05, epochs=1)
    layer = hidden_layer(config, 0, digits, torch.float32)
    assert isinstance(layer, AssemblyFeatures)
    assert float(((layer.weights > 0).float().mean() - hebbian.DENSITY).abs()) < 0.02
    h = layer(digits.test_images)
    assert isinstance(h, torch.Tensor)
    assert (h > 0).sum(dim=1).max() <= 10
    torch.testing.assert_close(layer((digits.test_images > 0.5).float()), h)


def test_what_was_learnt_is_kept_and_depends_on_all_that_it_is_of(
    digits: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FeaturesConfig(width=20, rule="competing", epochs=2)
    first = hidden_layer(config, 0, digits, torch.float32).weights
    (file,) = cache.rglob("*.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(CompetingFeatures, "learn", lambda *_: pytest.fail("it was learnt again"))
        assert torch.equal(hidden_layer(config, 0, digits, torch.float32).weights, first)
    other = replace(digits, train_images=digits.train_images.flip(0))
    for different in (
        hidden_layer(config, 1, digits, torch.float32),
        hidden_layer(replace(config, eta=0.03), 0, digits, torch.float32),
        hidden_layer(config, 0, other, torch.float32),
    ):
        assert not torch.equal(different.weights, first)
    file.write_bytes(b"damaged")
    assert torch.equal(hidden_layer(config, 0, digits, torch.float32).weights, first)
