"""The zoo's tables from runs whose accuracy is known, its figure, and the search for learning rates."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tune
from nne.registry import LEARNERS, composed
from nne.training.io.results import Run, find_runs
from nne.training.io.run_folder import METRICS
from reporting import stages, zoo
from tests.scripts.test_report import finished

ACCURACIES = {
    "frozen": (0.60, 0.62, 0.61),
    "backprop": (0.80, 0.81, 0.82),
    "fa": (0.70, 0.72, 0.71),
    "np": (0.61, 0.60, 0.63),
}


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Four rules on the narrow network, three seeds; one of them on all images."""
    for rule, values in ACCURACIES.items():
        for seed, value in enumerate(values):
            folder = tmp_path / f"{rule}{seed}"
            finished(folder, f"{rule}_mnist10", "network.hidden=32", f"seed={seed}", test_accuracy=value)
            with (folder / METRICS).open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(
                    ["step", "speed/seconds", "speed/steps_per_second", "alignment/cosine", "test/accuracy"]
                )
                writer.writerows([[step, step, 1, 0.1 * step + seed / 100, value] for step in (1, 2, 5)])
    finished(tmp_path / "all", "fa_mnist10", "network.hidden=32", "data.per_class=null", test_accuracy=0.9)
    return find_runs([tmp_path])


def test_rules_stand_by_network_few_images_apart_from_all(runs: list[Run]) -> None:
    rows = {row["rule"]: row for row in zoo.zoo(runs, {})}
    assert list(rows) == ["backpropagation", "feedback alignment", "node perturbation", "frozen hidden layers"]
    assert rows["feedback alignment"]["784-32-10"] == "71.00 ± 0.58"
    assert list(rows["feedback alignment"]) == ["rule", "experiment", "784-32-10", "seeds", "steps", "seconds"]
    (everything,) = zoo.zoo_all(runs, {})
    assert everything["784-32-10"] == "90.00"


def test_a_cell_holds_one_setting_whose_seeds_are_seeds(tmp_path: Path) -> None:
    for steps, seed, value in ((9, 0, 0.5), (9, 1, 0.7), (400, 0, 0.9), (20, 0, 0.1)):
        where = tmp_path / f"{steps}_{seed}"
        finished(where, "fa_mnist10", f"trainer.max_steps={steps}", f"seed={seed}", test_accuracy=value)
    (row,) = zoo.zoo(find_runs([tmp_path]), {})
    assert (row["784-1000-10"], row["seeds"]) == ("60.00 ± 10.00", "2")


def test_gains_are_paired_over_seeds_and_starred_where_they_are_no_chance(runs: list[Run]) -> None:
    rows = {row["rule"]: row["784-32-10"] for row in zoo.gains(runs, {})}
    assert rows == {
        "backpropagation": "+20.00 ± 0.58* (100 %)",
        "feedback alignment": "+10.00 ± 0.00* (50 %)",
        "node perturbation": "+0.33 ± 1.20 (2 %)",
    }


def test_spikes_have_a_table_of_their_own(tmp_path: Path) -> None:
    finished(tmp_path / "a", "rstdp_mnist10", "seed=3", test_accuracy=0.7)
    finished(tmp_path / "b", "spiking_mnist10", "seed=1", "learner.neurons=100", test_accuracy=0.8)
    rewarded, unlabelled = zoo.spikes(find_runs([tmp_path]), {})
    assert (rewarded["neurons"], rewarded["test accuracy, %"]) == ("400", "70.00")
    assert (unlabelled["neurons"], unlabelled["seeds"]) == ("100", "1")


def test_what_a_rule_needs_comes_from_its_class(runs: list[Run]) -> None:
    rows = {row["rule"]: row for row in zoo.needs(runs, {})}
    assert rows["backpropagation"]["the weights of other synapses"] == "x"
    assert rows["node perturbation"]["one scalar for all"] == "x"
    assert rows["feedback alignment"]["the weights of other synapses"] == ""


def test_the_figure_has_a_line_for_each_rule_but_the_floor(runs: list[Run]) -> None:
    figure = zoo.alignment(runs, {})
    assert figure is not None
    narrow = figure.axes[0]
    assert [line.get_label() for line in narrow.lines] == ["backpropagation", "feedback alignment", "node perturbation"]
    assert np.asarray(narrow.lines[0].get_ydata()) == pytest.approx([0.11, 0.21, 0.51])


@pytest.mark.parametrize(
    ("judge", "best"),
    [
        (lambda rate: -abs(rate - 0.3), 0.3),
        (lambda rate: 1.0 if rate in (0.1, 0.03) else 0.5, 0.03),
    ],
)
def test_the_search_goes_to_the_best_neighbour(judge: Callable[[float], float], best: float) -> None:
    assert tune.search(judge, 0.1) == best
    assert tune.neighbours(0.3) == (0.1, 1.0)


def test_every_rule_that_was_tuned_is_reproduced_and_every_rule_of_the_table_is_an_experiment() -> None:
    names = {stage.name for stage in stages.STAGES}
    for rule, networks in tune.RULES.items():
        for network in networks or stages.NETWORKS:
            assert f"zoo_{rule}_{network}" in names
    for rule in zoo.NAMES:
        assert composed(f"experiment={zoo.experiment(rule)}").learner.name in LEARNERS
