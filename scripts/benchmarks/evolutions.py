"""Tables of evolution: all runs; those that differ in one respect (Sec. 4, rules of selection); linear targets."""

from collections.abc import Callable
from statistics import mean

from nne.training.io.results import Row, Run, grouped, seeds, settings, spread, typed
from reporting import tables

VARIED, ON_FILTERS = "nne_mnist10", "nne_filters_mnist10"
STRENGTH = ("learner.epsilon", "learner.epsilon_final")
GOALS = tables.PAPER["nne_mnist10"], tables.PAPER["sgd_mnist10"]  # test accuracies in %
AS_IT_IS = "the experiment as it is"
QUESTIONS: dict[str, Callable[[dict[str, str]], bool]] = {  # of Sec. 4, by what a run has otherwise if it asks them
    "1. non-linear functions of genes": lambda keys: "learner.expression" in keys,
    "2. fixing alleles": lambda keys: "learner.freeze" in keys,
    "3. more layers": lambda keys: "," in keys.get("network.hidden", ""),
    "5. a cap on the hidden layer": lambda keys: "network.cap" in keys,
    "one image at a time": lambda keys: keys.get("learner.batch") == "1",
    "groups, each with images of its own": lambda keys: "learner.groups" in keys,
}
Variant = tuple[tuple[str, str], ...]
"""Keys that a run has otherwise than its experiment, and their values as one types them."""


def evolution(runs: list[Run], experiments: tables.Experiments) -> list[Row]:
    """Every evolution, by g, the number of genes and what else it has otherwise: what individuals can do."""
    evolved: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.learner == "evolution":
            g = run.key("learner.expression") or "identity"
            evolved.setdefault((g, _otherwise(run, experiments)), []).append(run)
    groups = [
        (g, otherwise, *group)
        for (g, otherwise), members in evolved.items()
        for group in grouped(members, "learner.genes").items()
    ]
    rows = []
    for g, otherwise, (name, dataset, device, genes), members in groups:
        paper = tables.PAPER.get(name.removesuffix("_paper")) if dataset == "mnist" else None
        rows.append(
            {
                "experiment": f"{name} {otherwise}".strip(),
                "g": g,
                "genes": str(genes),
                "data": dataset,
                "paper": f"{paper}" if paper else "",
                "individuals": spread(100 * r.summary["individuals"]["mean"] for r in members),
                "mean weights": spread(100 * r.summary["mean_weights"] for r in members),
                "vote": spread(100 * r.summary["vote"] for r in members),
                "seeds": seeds(members),
                "generations": spread((r.summary["generations"] for r in members), 0),
                "seconds": spread(r.summary["seconds"] for r in members),
                "seconds to paper": seconds_to(paper, members),
                "machine": device,
            }
        )
    return rows


def _otherwise(run: Run, experiments: tables.Experiments) -> str:
    """What an evolution has otherwise than its experiment, beside g and the number of genes."""
    told = "learner.expression", "learner.genes"
    differing = {key: value for key, value in tables.settings_of(run, experiments).items() if key not in told}
    return " ".join(f"`{name}={typed(value)}`" for name, value in differing.items())


def linear(runs: list[Run], _: tables.Experiments) -> list[Row]:
    """Evolution towards linear targets (Sec. 2.1)."""
    rows = []
    names = ("learner.inputs", "learner.genes", "learner.population")
    for (name, _dataset, _device, m, n, N), members in grouped(
        (r for r in runs if r.learner == "linear"), *names
    ).items():
        rows.append(
            {
                "experiment": f"`{name}`",
                "m": str(m),
                "n": f"{n:,}",
                "N": "∞" if N is None else f"{N:,}",
                "cos(W p, a)": spread((r.summary["cosine"] for r in members), 4),
                "generations": spread((r.summary["generations"] for r in members), 0),
                "fell less than guaranteed": str(sum(r.summary["violations_of_theorem_1"] for r in members)),
                "seeds": seeds(members),
                "seconds": spread((r.summary["seconds"] for r in members), 0),
            }
        )
    return rows


def seconds_to(accuracy: float | None, runs: list[Run]) -> str:
    """How long the individuals took to pass an accuracy, over runs that all did."""
    if accuracy is None:
        return ""
    passed = [[s for _, s, reached in run.curve if reached >= accuracy] for run in runs]
    return spread(map(min, passed)) if all(passed) else ""


def variants(runs: list[Run], experiments: tables.Experiments, of: str = VARIED) -> dict[Variant, list[Run]]:
    """Runs of an experiment on MNIST by what they have otherwise; those that have nothing, first."""
    groups: dict[Variant, list[Run]] = {}
    for run in tables.on_one([run for run in runs if run.experiment == of]):
        variant = tuple((key, typed(value)) for key, value in settings(run, experiments[of]).items())
        groups.setdefault(variant, []).append(run)
    return dict(sorted(groups.items(), key=lambda item: (bool(item[0]), str(item[0]))))


def questions(runs: list[Run], experiments: tables.Experiments, of: str = VARIED) -> list[Row]:
    """Sec. 4: what each variant of the experiment reaches, and how fast its generations are at first and at the end."""
    rows = []
    for variant, members in variants(runs, experiments, of).items():
        asked = [question for question, asks in QUESTIONS.items() if asks(dict(variant))]
        if asked or not variant:
            rows.append(
                {
                    "question": asked[0] if asked else AS_IT_IS,
                    "otherwise": " ".join(f"`{key}={value}`" for key, value in variant),
                    "individuals": spread((run.accuracy for run in members), 2),
                    "generations": spread((run.summary["generations"] for run in members), 0),
                    "a second, at first": spread(speed(run, first=True) for run in members),
                    "at the end": spread(speed(run, first=False) for run in members),
                    "seconds": spread((run.summary["seconds"] for run in members), 0),
                    "seeds": seeds(members),
                }
            )
    rows.sort(key=lambda row: (row["question"] != AS_IT_IS, row["question"]))
    return rows if len(rows) > 1 else []


def filters_questions(runs: list[Run], experiments: tables.Experiments) -> list[Row]:
    """The same of ten filters."""
    return questions(runs, experiments, ON_FILTERS)


def speed(run: Run, first: bool) -> float:
    """Generations a second over the first or the last 50, evaluation not included."""
    rates = [rate for _, _, rate in run.column("speed/steps_per_second")]
    return 1 / mean(1 / rate for rate in (rates[:50] if first else rates[-50:]))


def selection(runs: list[Run], experiments: tables.Experiments) -> list[Row]:
    """Every rule of selection: when individuals passed the paper's NNE and the paper's SGD, and where they ended."""
    rules = {}
    for variant, members in variants(runs, experiments).items():
        if {key for key, _ in variant} <= {"learner.selection", *STRENGTH}:
            rules[variant] = members
    if len(rules) < 2:
        return []
    rows = []
    for members in rules.values():
        run = members[0]
        strengths = [run.key(name) for name in STRENGTH]
        rows.append(
            {
                "rule": f"`{run.key('learner.selection')}`",
                "ε": " to ".join(f"{strength:g}" for strength in strengths if strength is not None),
                **{
                    f"{unit} to {accuracy} %": passed(members, accuracy, of)
                    for accuracy in GOALS
                    for unit, of in UNITS.items()
                },
                "individuals": spread((run.accuracy for run in members), 2),
                "mean weights": spread((100 * run.summary["mean_weights"] for run in members), 2),
                "seeds": seeds(members),
            }
        )
    return sorted(rows, key=lambda row: -float(row["individuals"].split()[0]))


Point = tuple[int, float, float]
UNITS: dict[str, Callable[[Point], float]] = {"generations": lambda point: point[0], "seconds": lambda point: point[1]}


def passed(runs: list[Run], accuracy: float, unit: Callable[[Point], float]) -> str:
    """Where individuals were first found at an accuracy, over the runs where they were."""
    curves = [[unit(point) for point in run.curve if point[2] >= accuracy] for run in runs]
    firsts = [min(points) for points in curves if points]
    missing = f" ({len(firsts)} of {len(runs)})" if 0 < len(firsts) < len(runs) else ""
    return f"{spread(firsts, 0)}{missing}" if firsts else "never"
