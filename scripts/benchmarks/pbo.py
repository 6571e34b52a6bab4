"""The 25 pseudo-Boolean functions of IOHprofiler's PBO suite (`pip install -e '.[bench]'`).

Every competitor has the same instances and the same budget. What each reaches is kept in a file as soon as it is known,
and skipped when the command is given again.
"""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.pbo_peers import COMPETITORS, LIBRARIES, OURS
from nne.training.errors import UserError, require
from nne.training.io.results import Row
from nne.training.logging import figures
from nne.training.logging.progress import track

FUNCTIONS = range(1, 26)
INSTANCES = 11
NO_OPTIMUM = {18, 22, 25}  # it is not known, or the suite's own is not that of its transformed instances
CHANCE = 100  # genotypes from chance whose mean is the zero of the scale


class FinishedError(Exception):
    """The budget is spent, or the optimum found."""


class Counted:
    """The fitness of a problem, its evaluations counted.

    Args:
        problem: of ioh.
        budget: evaluations.
        optimum: at which it is finished; None where it is not known.
    """

    def __init__(self, problem: Any, budget: int, optimum: float | None) -> None:
        self.problem, self.budget, self.optimum = problem, budget, optimum
        self.best, self.spent, self.found = -np.inf, 0, False

    def __call__(self, x: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The fitness of ``[B, n]`` genotypes; raises once it is finished."""
        told = np.empty(len(x))
        for i, genotype in enumerate(np.asarray(x).astype(np.int64).tolist()):
            if self.spent >= self.budget:
                raise FinishedError
            told[i] = self.problem(genotype)
            self.spent += 1
            self.best = max(self.best, told[i])
            if self.optimum is not None and self.best >= self.optimum - 1e-9 * max(abs(self.optimum), 1):
                self.found = True
                raise FinishedError
        return told


@dataclass(frozen=True)
class Attempt:
    """One competitor on one instance: the best that it found, after how many evaluations it was the optimum."""

    function: int
    name: str
    genes: int
    budget: int
    instance: int
    competitor: str
    best: float
    chance: float
    optimum: float | None
    evaluations: int
    found: bool
    seconds: float


def attempt(function: int, genes: int, budget: int, instance: int, competitor: str) -> Attempt:
    """Let it search until it is finished."""
    from ioh import ProblemClass, get_problem

    problem = get_problem(function, instance, genes, ProblemClass.PBO)
    optimum = None if function in NO_OPTIMUM else float(problem.optimum.y)
    zero = np.random.default_rng([function, instance]).random((CHANCE, genes)) < 0.5
    chance = mean(problem(x) for x in zero.astype(np.int64).tolist())
    counted = Counted(problem, budget, optimum)
    start = time.perf_counter()
    with suppress(FinishedError):
        COMPETITORS[competitor](counted, genes, np.random.default_rng([instance, function]))
    seconds = time.perf_counter() - start
    found = counted.best, chance, optimum, counted.spent, counted.found, seconds
    return Attempt(function, problem.meta_data.name, genes, budget, instance, competitor, *map(_plain, found))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def pbo(genes: int, budget: int, instances: int, competitors: list[str], out: Path) -> list[Attempt]:
    """Every competitor on every function and instance, instance by instance.

    Raises:
        UserError: ioh is not there, or a competitor is unknown.
    """
    try:
        import ioh  # noqa: F401
    except ImportError as error:
        raise UserError("`benchmark.py pbo` needs ioh: pip install -e '.[bench]'") from error
    unknown = set(competitors) - COMPETITORS.keys()
    require(not unknown, f"competitors must be among {', '.join(COMPETITORS)}; got {', '.join(sorted(unknown))}")
    done = [Attempt(**json.loads(line)) for line in out.read_text().splitlines()] if out.exists() else []
    known = {(a.function, a.genes, a.budget, a.instance, a.competitor) for a in done}
    out.parent.mkdir(parents=True, exist_ok=True)
    wanted = [
        (function, genes, budget, instance, competitor)
        for instance in range(1, instances + 1)
        for function in FUNCTIONS
        for competitor in competitors or COMPETITORS
    ]
    left = [each for each in wanted if each not in known]
    with out.open("a") as file:
        for each in track(left, "searches", len(left)):
            made = attempt(*each)
            done.append(made)
            file.write(json.dumps(asdict(made)) + "\n")
            file.flush()
    chosen = set(wanted)
    return [a for a in done if (a.function, a.genes, a.budget, a.instance, a.competitor) in chosen]


@dataclass(frozen=True)
class Score:
    """Of one competitor on one function.

    solved: how many instances, of how many.
    reached: the mean share of the way from chance to the optimum, or to the best that anybody found.
    evaluations: mean, of all attempts; a failed one counts with all its budget.
    """

    solved: int
    instances: int
    reached: float
    evaluations: float

    def __str__(self) -> str:
        return f"{self.solved} of {self.instances}; {100 * self.reached:.1f}"

    @property
    def order(self) -> tuple[float, float]:
        """More is better: the share of instances solved, then what was reached."""
        return self.solved / self.instances, round(self.reached, 9)


def scores(attempts: list[Attempt]) -> dict[int, dict[str, Score]]:
    """By function and competitor."""
    found: dict[int, dict[str, Score]] = {}
    for function in sorted({a.function for a in attempts}):
        here = [a for a in attempts if a.function == function]
        top = {i: max(a.best for a in here if a.instance == i) for i in {a.instance for a in here}}
        found[function] = {}
        for competitor in COMPETITORS:
            own = [a for a in here if a.competitor == competitor]
            if own:
                ends = [top[a.instance] if a.optimum is None else a.optimum for a in own]
                shares = [(a.best - a.chance) / (end - a.chance) for a, end in zip(own, ends, strict=True)]
                solved = sum(a.found for a in own)
                found[function][competitor] = Score(solved, len(own), mean(shares), mean(a.evaluations for a in own))
    return found


def wins(found: dict[int, dict[str, Score]], against: list[str]) -> dict[int, str]:
    """``win``, ``tie`` or ``loss`` of ours against the best of some others, by function."""
    verdicts = {}
    for function, by_name in found.items():
        best = max((by_name[name].order for name in against if name in by_name), default=(0.0, -np.inf))
        own = by_name[OURS].order
        verdicts[function] = "win" if own > best else "tie" if own == best else "loss"
    return verdicts


def table(attempts: list[Attempt]) -> list[Row]:
    """Instances solved and % of the way to the optimum, function by function; then what there is to say of all."""
    found, names = scores(attempts), {a.function: a.name for a in attempts}
    shown = [name for name in COMPETITORS if any(name in by_name for by_name in found.values())]
    verdicts = wins(found, [name for name in LIBRARIES if name in shown])
    rows = []
    for function, by_name in found.items():
        cells = {name: str(by_name[name]) if name in by_name else "" for name in shown}
        rows.append({"function": f"{function} {names[function]}", **cells, "against libraries": verdicts[function]})
    solved = {n: sum(of[n].solved == of[n].instances for of in found.values() if n in of) for n in shown}
    cost = {name: mean(a.seconds / a.evaluations for a in attempts if a.competitor == name) for name in shown}
    count = ", ".join(f"{list(verdicts.values()).count(each)} {each}" for each in ("win", "tie", "loss"))
    return [
        *rows,
        {"function": "solved in every run", **{n: str(solved[n]) for n in shown}, "against libraries": count},
        {"function": "microseconds", **{n: f"{1e6 * cost[n]:.0f}" for n in shown}, "against libraries": ""},
    ]


def picture(attempts: list[Attempt]) -> Figure:
    """Evaluations to the optimum, function by function: each competitor that solved all of its instances."""
    found, names = scores(attempts), {a.function: a.name for a in attempts}
    figure, axes = figures.new(width=7.5, height=4.2)
    for i, name in enumerate(COMPETITORS):
        own = [(function, by_name[name]) for function, by_name in found.items() if name in by_name]
        at = [(function, score.evaluations) for function, score in own if score.solved == score.instances]
        if at:
            style = figures.series_style(i) | {"linestyle": "none"}
            axes.plot(*zip(*at, strict=True), **style, label=name)
    axes.set(yscale="log", ylabel="evaluations to the optimum, mean")
    axes.set_xticks(list(found), [names[f] for f in found], rotation=60, ha="right", fontsize=7)
    figures.legend(figure, axes, columns=4)
    return figure
