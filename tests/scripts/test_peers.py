"""What evolution is measured against computes what it should, and learns."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

import benchmark
from benchmarks import filter_peers, race
from benchmarks.peers import SGD, Peer, RankOne, Setting
from nne.learners.network import NetworkEvolution
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.learner import Metrics
from nne.training.models.filters import FilterNetwork
from nne.training.parts import NetworkConfig
from tests.conftest import altered

SETTINGS = {"evosax Open_ES": "evosax", "EvoTorch PGPE": "evotorch", "rank-1 ES (EGGROLL)": "torch", "SGD": "torch"}


def loss(peer: Peer) -> float:
    first, second = peer.weights()
    return float(cross_entropy((peer.images @ first).relu() @ second, peer.labels).detach())


@pytest.mark.parametrize("name", race.TUNED)
def test_each_begins_alike_and_learns(name: str, digits: Dataset) -> None:
    pytest.importorskip(SETTINGS[name])
    kind, setting = race.TUNED[name]
    peer, other = kind(digits, setting, 100), SGD(digits, Setting(0.1), 100)
    before = loss(peer)
    assert before == pytest.approx(loss(other))
    for _ in range(10):
        peer.step()
    assert loss(peer) < before - 0.1
    assert peer.accuracy(digits.test_images, digits.test_labels) > 0.15


def test_the_losses_of_rank_one_perturbations_are_those_of_the_perturbed_networks(digits: Dataset) -> None:
    peer = RankOne(digits, Setting(0.01, 0.1, 20), 100)
    drawn = peer.draw()
    result = peer.losses(drawn, digits.train_images, digits.train_labels)
    images, matrices = digits.train_images.double(), [matrix.double() for matrix in peer.start]
    for i in range(20):
        first, second = (
            matrix + 0.1 * torch.outer(a[i], b[i]).double() for matrix, (a, b) in zip(matrices, drawn, strict=True)
        )
        expected = cross_entropy((images @ first).relu() @ second, digits.train_labels)
        assert float(result[i]) == pytest.approx(float(expected), rel=1e-4)


def test_rank_one_perturbations_point_along_the_gradient(digits: Dataset) -> None:
    """As far as 500 directions can, of 784,000: a random one would have a cosine of 0.001."""
    peer = RankOne(digits, Setting(0, 0.001, 1000), None)
    exact = [matrix.clone().requires_grad_() for matrix in peer.start]
    cross_entropy((digits.train_images @ exact[0]).relu() @ exact[1], digits.train_labels).backward()
    peer.move(digits.train_images, digits.train_labels)
    for result, true in zip(peer.start, exact, strict=True):
        assert result.grad is not None
        assert float(torch.cosine_similarity(result.grad.flatten(), true.grad.flatten(), dim=0)) > 0.005


def test_a_pattern_search_goes_up_and_down_and_comes_back() -> None:
    start = Setting(0.01, 0.03, 30)
    for other in start.neighbours():
        assert start in other.neighbours()
    assert {s.step_size for s in start.neighbours()} == {0.003, 0.01, 0.03}
    assert {s.population for s in start.neighbours()} == {10, 30, 100}
    assert len(Setting(0.1).neighbours()) == 2


def test_the_tables_hold_every_contestant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = {name: entry for name, entry in race.TUNED.items() if SETTINGS[name] == "torch"}
    monkeypatch.setattr(race, "TUNED", mine)
    monkeypatch.setattr(race, "MARKS", (0.05, 0.1))
    monkeypatch.setattr(race, "composed", lambda *overrides: altered(small, batch=20))
    path = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "peers", "--json", str(path), "--data=embedded", "--repeats=1"])
    benchmark.main()
    rows = json.loads(path.read_text())["rows"]
    names = ["evolution of alleles", "the same, dense fp32", "more alleles", *mine]
    assert [row["name"] for row in rows] == names * 2
    assert all(row["networks a second, 100 images"] > 0 for row in rows[: len(names)])
    assert all(0 <= row["accuracy after 0.1 s, %"] <= 100 for row in rows[len(names) :])


def test_strategies_on_filters_begin_as_the_network_does_and_learn(digits: Dataset) -> None:
    network = NetworkConfig(filters=3, field=5, places=4)
    strategy = filter_peers.RankOne(digits, network, Setting(0.01, 0.1, 100), 0)
    module = FilterNetwork(digits.train_images.mean(dim=0), network, len(digits.classes), 0)
    pixels = (digits.test_images - strategy.centre)[:, strategy.seen]
    torch.testing.assert_close(strategy.logits(strategy.mean[None], pixels), module(digits.test_images))
    before = strategy.accuracy()
    for _ in range(40):
        strategy.step()
    assert strategy.accuracy() > before + 0.1


def test_evolution_beside_them_is_judged_after_as_many_evaluations(
    digits: Dataset, fp32: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_peers, "BUDGET", 24 * 64 * 100)
    monkeypatch.setattr(filter_peers, "MARKS", (24, 1))
    lived: list[int] = []

    class Watched(NetworkEvolution):
        def evaluate(self, images: torch.Tensor, labels: torch.Tensor) -> Metrics:
            lived.append(self.generation)
            return super().evaluate(images, labels)

    monkeypatch.setattr(filter_peers, "NetworkEvolution", Watched)
    after_one, after_all = filter_peers.evolved(digits, fp32, seed=0)
    assert lived == [1, 24]
    assert after_all > after_one + 0.05
