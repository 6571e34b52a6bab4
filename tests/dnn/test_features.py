"""The random hidden layer and its Gram matrix, against definitions, sorts and samples."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dnn.features
from dnn.activity import of_features
from dnn.config import DopamineConfig
from dnn.features import UNITS, RandomFeatures, k_cap
from dnn.gram import gram
from nne.training.data.datasets import Dataset
from nne.training.errors import UserError
from nne.training.models.output_layer import SparseFeatures, dense, project, take
from nne.training.parts import FeaturesConfig
from tests.conftest import CPU


def features(data: Dataset, dtype: torch.dtype = torch.float32, seed: int = 0, **config: object) -> RandomFeatures:
    return RandomFeatures(FeaturesConfig(**config), seed, data.train_images, dtype)  # type: ignore[arg-type]


@given(st.integers(1, 6), st.integers(1, 30), st.integers(1, 5), st.integers(0, 10**6), st.data())
def test_k_cap_equals_a_stable_sort(rows: int, width: int, levels: int, seed: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, width))
    h = torch.randint(levels, (rows, width), generator=torch.Generator().manual_seed(seed)).float()  # many ties
    expected = torch.zeros(rows, width, dtype=torch.bool)
    for row in range(rows):
        best = sorted(range(width), key=lambda i: (-float(h[row, i]), i))[:k]
        expected[row, best] = True
    assert torch.equal(k_cap(h, k), expected)


def test_weights_are_kaiming_uniform_and_the_layer_is_relu(digits: Dataset) -> None:
    layer = features(digits, width=5000)
    assert layer.weights.shape == (784, 5000)
    bound = math.sqrt(6 / 784)
    assert 0.999 * bound < layer.weights.abs().max() <= bound
    assert abs(float(layer.weights.var()) / (2 / 784) - 1) < 0.01
    expected = (digits.train_images.double() @ layer.weights.double()).clamp(min=0)
    torch.testing.assert_close(layer(digits.train_images).double(), expected, rtol=1e-4, atol=1e-5)


def test_a_wider_layer_begins_with_the_units_of_a_narrower_one(digits: Dataset) -> None:
    wide, narrow = features(digits, width=UNITS + 10), features(digits, width=30)
    assert torch.equal(wide.weights[:, :30], narrow.weights)
    assert not torch.equal(narrow.weights, features(digits, width=30, seed=1).weights)


def test_work_is_cut_to_blocks_without_a_difference(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = features(digits, width=300)(digits.train_images)
    monkeypatch.setattr(dnn.features, "BLOCK_BYTES", 4 * 300 * 7)
    torch.testing.assert_close(features(digits, width=300)(digits.train_images), whole, rtol=1e-6, atol=1e-6)


def test_standardised_pixels(digits: Dataset) -> None:
    seen = features(digits, width=10, standardise=True).standardise(digits.train_images)
    assert abs(float(seen.mean())) < 1e-4
    assert abs(float(seen.std()) - 1) < 1e-4


@pytest.mark.parametrize("cap", [5, 60])
def test_a_cap_lets_the_k_most_active_units_fire(digits: Dataset, cap: int) -> None:
    capped, free = features(digits, width=320, cap=cap), features(digits, width=320)
    seen, h = capped(digits.train_images), free(digits.train_images)
    assert isinstance(seen, SparseFeatures) == (cap == 5)
    assert isinstance(h, torch.Tensor)
    assert torch.equal(dense(seen, 320), h * k_cap(h, cap))
    w = torch.randn(320, 10, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([3, 0, 7])
    torch.testing.assert_close(project(take(seen, rows), w), dense(seen, 320)[rows] @ w, rtol=1e-5, atol=1e-5)


def test_what_cannot_fit_is_refused_with_its_size(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dnn.features, "free_memory", lambda device: 3 * 2**30)
    with pytest.raises(
        UserError, match=r"features\.width=1000000 needs 3\.9 GiB here, and 3\.0 GiB are free: set feat"
    ):
        features(digits, width=1_000_000)(digits.train_images)


def test_a_gram_matrix_that_cannot_fit_is_refused(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnn.gram.free_memory", lambda device: 10**6)
    message = r"the Gram matrix of 200 training and 3000 test images needs .* set data\.per_class lower than 20"
    with pytest.raises(UserError, match=message):
        gram(FeaturesConfig(width=77), 0, DopamineConfig(), digits)


@pytest.mark.parametrize("presynaptic", ["graded", "binary"])
@pytest.mark.parametrize("cap", [None, 10, 200])
def test_gram_matrix_equals_its_definition(digits: Dataset, presynaptic: str, cap: int | None) -> None:
    config = FeaturesConfig(width=UNITS + 100, cap=cap)
    result = gram(config, 0, DopamineConfig(presynaptic=presynaptic), digits)
    layer = RandomFeatures(config, 0, digits.train_images, torch.float32)
    h, h_test = (dense(layer(images), layer.width).double() for images in (digits.train_images, digits.test_images))
    psi = (h > 0).double() if presynaptic == "binary" else h
    start = layer.output_weights(10, "uniform").double()
    for mine, expected in (
        (result.train, h @ psi.T),
        (result.across(digits.test_images).K, h_test @ psi.T),
        (result.base, h @ start),
        (result.across(digits.test_images).base, h_test @ start),
        (result.psi, psi @ psi.T),
        (result.psi_base, psi @ start),
        (result.start, start.square().sum(dim=0)),
    ):
        torch.testing.assert_close(mine.double(), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    activity = of_features(h, digits.train_labels, h.shape[1])
    torch.testing.assert_close(result.activity.firing, activity.firing)
    torch.testing.assert_close(result.activity.overlap, activity.overlap, rtol=1e-4, atol=1e-4)


def test_activity_under_a_cap_is_that_of_the_same_features_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnn.activity.BLOCK", 3)
    units = torch.stack([torch.randperm(10, generator=torch.Generator().manual_seed(i))[:4] for i in range(6)])
    sparse, labels = SparseFeatures(units.int(), torch.rand(6, 4) + 0.1), torch.arange(6) % 2
    found, expected = (of_features(h, labels, 10) for h in (sparse, dense(sparse, 10)))
    assert torch.equal(found.firing, expected.firing)
    assert torch.equal(found.unit_firing, expected.unit_firing)
    torch.testing.assert_close(found.overlap, expected.overlap)


def test_the_overlap_of_classes_is_a_mean_over_pairs_of_images() -> None:
    fires = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]]).float()
    overlap = of_features(fires, torch.tensor([0, 0, 1]), fires.shape[1]).overlap
    assert overlap.tolist() == [[0.75, 0.25], [0.25, 1.0]]


@pytest.mark.parametrize("presynaptic", ["graded", "binary"])
def test_the_infinite_layer_is_the_limit_of_wide_ones(digits: Dataset, presynaptic: str) -> None:
    own = DopamineConfig(presynaptic=presynaptic, initial="zero")
    limit = gram(FeaturesConfig(width=math.inf), 0, own, digits)
    errors = []
    for width in (1000, 64_000):
        finite = gram(FeaturesConfig(width=width), 0, own, digits)
        errors.append(float((finite.train / width - limit.train).norm() / limit.train.norm()))
    assert errors[1] < errors[0] / 4 < 0.02  # ~ 1 / sqrt(width)
    torch.testing.assert_close(finite.activity.overlap, limit.activity.overlap, rtol=0, atol=0.02)
    torch.testing.assert_close(finite.psi / width, limit.psi, rtol=0.1, atol=0.01)


@settings(max_examples=20)
@given(st.floats(0.05, 3.1), st.floats(0.1, 3), st.floats(0.1, 3))
def test_arc_cosine_kernels_by_sampling(angle: float, x: float, y: float) -> None:
    w = torch.randn(2, 400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = x * w[0]
    b = y * (math.cos(angle) * w[0] + math.sin(angle) * w[1])
    args = torch.tensor([[angle]], dtype=torch.float64), torch.tensor([x]).double(), torch.tensor([y]).double()
    graded = float((a.relu() * b.relu()).mean())
    assert abs(float(dnn.gram.arc_cosine(*args)) - graded) < 0.02 * x * y
    assert abs(float(dnn.gram.mixed_arc_cosine(*args)) - float((a.relu() * (b > 0)).mean())) < 0.02 * x


def test_a_gram_matrix_is_kept_for_the_next_rule_only(digits: Dataset) -> None:
    own = DopamineConfig()
    first = gram(FeaturesConfig(width=50), 0, own, digits)
    assert gram(FeaturesConfig(width=50), 0, DopamineConfig(rule="delta"), digits) is first
    assert gram(FeaturesConfig(width=50), 1, own, digits) is not first
    again = gram(FeaturesConfig(width=50), 0, own, digits)
    assert (
        gram(FeaturesConfig(width=50), 0, own, replace(digits, train_labels=digits.train_labels.flip(0))) is not again
    )
    assert first.train.device == CPU
