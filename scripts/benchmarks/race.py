"""Evolution of alleles beside its peers: networks a second, and test accuracy after so many seconds of work.

Evolution runs as `experiment=nne_mnist10` says, and once more with twice the genes and individuals. Step size,
perturbation and population of every peer are TUNED by `scripts/benchmark.py tune`: a pattern search over 1, 3, 10, 30
..., where a setting is judged by the accuracy *on the test set* that it reaches in 20 seconds. That can only flatter a
peer.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median

from rich.table import Table

from benchmarks.library_peers import PGPE, OpenES
from benchmarks.peers import SGD, DenseEvolution, Peer, RankOne, Setting, best_setting
from nne.learners.network import NetworkEvolution
from nne.registry import composed
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import require
from nne.training.logging.progress import console

TUNED: dict[str, tuple[type[Peer], Setting]] = {
    "evosax Open_ES": (OpenES, Setting(0.01, 0.03, 30)),
    "EvoTorch PGPE": (PGPE, Setting(0.01, 0.003, 30)),
    "rank-1 ES (EGGROLL)": (RankOne, Setting(0.003, 0.003, 300)),
    "SGD": (SGD, Setting(1)),
}
MORE = "learner.genes=20000", "learner.population=2000", "trainer.max_steps=1200"
BATCH = 100  # images a step, drawn anew
MARKS = 60.0, 300.0  # seconds
TRIAL = 20.0  # seconds that a setting is tried for


@dataclass(frozen=True)
class Contestant:
    """Whatever learns by steps, each of which evaluates ``population`` networks."""

    name: str
    graph: str
    population: int
    step: Callable[[], object]
    accuracy: Callable[[], float]
    finished: Callable[[], bool] = lambda: False


def evolution(name: str, learner: NetworkEvolution, data: Dataset) -> Contestant:
    """Evolution of alleles; its accuracy is that of individuals."""

    def accuracy() -> float:
        return float(learner.evaluate(data.test_images, data.test_labels)["test/individuals"])

    def finished() -> bool:
        return learner.reason_to_stop() is not None or learner.generation == learner.generations

    return Contestant(name, "10 %", learner.learner_config.population, learner.step, accuracy, finished)


def peer(name: str, setting: Setting, data: Dataset, batch: int | None) -> Contestant:
    """One of the peers, from its beginning."""
    kind, _ = TUNED[name]
    made = kind(data, setting, batch)
    return Contestant(
        name, "full", setting.population, made.step, lambda: made.accuracy(data.test_images, data.test_labels)
    )


def contestants(data: Dataset, compute: Compute, batch: int | None) -> Iterable[Contestant]:
    """All of them, one after the other, so that only one is in memory."""
    asked = "experiment=nne_mnist10", f"learner.batch={'null' if batch is None else batch}"
    config = composed(*asked)
    yield evolution("evolution of alleles", NetworkEvolution(config, data, compute), data)
    yield evolution("the same, dense fp32", DenseEvolution(config, data, compute), data)
    yield evolution("more alleles", NetworkEvolution(composed(*asked, *MORE), data, compute), data)
    for name, (_, setting) in TUNED.items():
        yield peer(name, setting, data, batch)


def check_installed() -> None:
    """Before minutes of work."""
    missing = [kind.package for kind, _ in TUNED.values() if kind.package and not find_spec(kind.package)]
    require(not missing, f"{' and '.join(map(str, missing))} must be installed: pip install -e '.[bench]'")


def networks_per_second(contestant: Contestant, repeats: int) -> float:
    """Median over steps, after one that may compile."""
    contestant.step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        contestant.step()
        times.append(time.perf_counter() - start)
    return contestant.population / median(times)


def accuracies(contestant: Contestant, marks: tuple[float, ...]) -> list[float]:
    """Test accuracy after so many seconds of steps; the first step, which may compile, is not counted."""
    contestant.step()
    reached, seconds = [], 0.0
    for mark in marks:
        while seconds < mark and not contestant.finished():
            start = time.perf_counter()
            contestant.step()
            seconds += time.perf_counter() - start
        reached.append(contestant.accuracy())
    return reached


def peers(data: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Two tables: networks a second, and accuracy after some time."""
    check_installed()
    rows: dict[str, dict[str, object]] = {}
    for batch in (None, BATCH):
        for each in contestants(data, compute, batch):
            row = rows.setdefault(each.name, {"name": each.name, "graph": each.graph, "population": each.population})
            row[f"networks a second, {batch or len(data.train_labels)} images"] = networks_per_second(each, repeats)
    show("Networks evaluated a second, a whole step counted", rows.values())
    of_time: list[dict[str, object]] = []
    for each in contestants(data, compute, BATCH):
        reached = accuracies(each, MARKS)
        named = {f"accuracy after {mark:g} s, %": round(100 * a, 2) for mark, a in zip(MARKS, reached, strict=True)}
        of_time.append({"name": each.name, "graph": each.graph, "population": each.population, **named})
        console.print(of_time[-1])
    show(f"Test accuracy, {BATCH} images a step", of_time)
    return [*rows.values(), *of_time]


def tune(data: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Every peer's setting: from TUNED, to its best neighbour, for as long as there is a better."""
    check_installed()
    rows: list[dict[str, object]] = []
    for name, (_, start) in TUNED.items():

        def judge(setting: Setting, name: str = name) -> float:
            (accuracy,) = accuracies(peer(name, setting, data, BATCH), (TRIAL,))
            console.print(f"{name}, {setting}: {accuracy:.2%}")
            return accuracy

        best, accuracy = best_setting(start, judge)
        rows.append({"name": name, "setting": str(best), f"accuracy after {TRIAL:g} s, %": 100 * accuracy})
    show(f"The best settings after {TRIAL:g} s", rows)
    return rows


def show(title: str, rows: Iterable[dict[str, object]]) -> None:
    """A table with a column for each key."""
    rows = list(rows)
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{v:,.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)
