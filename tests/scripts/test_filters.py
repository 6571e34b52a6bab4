"""The table of filters, and that of what was published, from runs whose accuracy is known."""

from pathlib import Path

import report
from benchmarks import evolutions
from nne.training.io.results import find_runs
from reporting import filters, zoo
from reporting.published import PUBLISHED, published
from tests.scripts.test_report import finished


def test_what_evolution_gains_of_what_gradients_gain(tmp_path: Path) -> None:
    for seed in (0, 1):
        finished(
            tmp_path / f"e{seed}", "nne_filters_mnist10", f"seed={seed}", test_accuracy=0.96 + seed / 50, generations=20
        )
        finished(tmp_path / f"a{seed}", "adam_filters_mnist10", f"seed={seed}", test_accuracy=0.98)
        finished(
            tmp_path / f"f{seed}", "adam_filters_mnist10", "network.frozen=true", f"seed={seed}", test_accuracy=0.93
        )
    finished(
        tmp_path / "alone", "nne_filters_mnist10", "network.filters=20", "learner.genes=64000", test_accuracy=0.971
    )
    finished(tmp_path / "rough", "nne_filters_mnist10", "learner.smooth=0", test_accuracy=0.95)
    finished(tmp_path / "both", "nne_filters_mnist10", "learner.smooth=0", "data.jitter=0", test_accuracy=0.94)
    finished(tmp_path / "capped", "nne_filters_mnist10", "network.cap=256", test_accuracy=0.9, generations=20)
    finished(tmp_path / "groups", "nne_filters_mnist10", "learner.groups=4", test_accuracy=0.92, generations=20)
    runs = find_runs([tmp_path])
    rows = {(row["how"], row["network"]): row for row in filters.filters(runs, {})}
    evolved = rows["all layers evolve", "10 filters"]
    assert (evolved["test accuracy, %"], evolved["gained"], evolved["seeds"]) == ("97.00 ± 1.00", "80 %", "0,1")
    assert evolved["evaluations, millions"] == "0.1"  # 20 generations of 64 individuals and 100 images
    assert rows[filters.FLOOR, "10 filters"]["gained"] == "0 %"
    assert rows["all layers evolve", "20 filters"]["gained"] == ""
    nothing, rough = filters.filters_ablation(runs, {})
    assert (nothing["taken away"], nothing["test accuracy, %"]) == ("nothing", "97.00 ± 1.00")
    assert filters.learning(runs, {}) is not None
    assert (rough["taken away"], rough["lost"], rough["seeds"]) == ("rough patterns", "2.00", "0")
    asked = {row["question"]: row for row in evolutions.filters_questions(runs, report.experiments(runs))}
    assert asked[evolutions.AS_IT_IS]["individuals"] == "97.00 ± 1.00"
    assert asked["5. a cap on the hidden layer"]["individuals"] == "90.00"
    assert asked["groups, each with images of its own"]["otherwise"] == "`learner.groups=4`"
    assert len(asked) == 3


def test_what_was_published_stands_apart_from_the_zoo_s_own_networks(tmp_path: Path) -> None:
    of = PUBLISHED[0]
    for seed in (0, 1):
        finished(tmp_path / f"{seed}", f"{of.rule}_mnist10", *of.overrides, f"seed={seed}", test_accuracy=0.98)
    finished(tmp_path / "other", f"{of.rule}_mnist10", "network.hidden=1000", "data.per_class=null", test_accuracy=0.97)
    runs = find_runs([tmp_path])
    (row,) = published(runs, {})
    assert (row["network"], row["published, %"], row["ours, %"]) == (of.network, of.accuracy, "98.00 ± 0.00")
    (own,) = zoo.zoo_all(runs, {})
    assert own["784-1000-10"] == "97.00"
    assert len(zoo.chosen(runs)) == 3
