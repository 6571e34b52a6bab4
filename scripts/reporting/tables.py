"""The paper's two tables and what else is compared, from finished runs; each function gives rows, none if no run."""

from collections.abc import Callable, Mapping
from statistics import mean, median
from typing import Any

from nne.training.config import flat
from nne.training.io.results import Row, Run, grouped, natural_key, seeds, settings, spread, typed

Experiments = Mapping[str, Mapping[str, Any]]
"""The configuration of every experiment, as its file has it."""

Cell = tuple[str, str, str, float | None, float | None]

TABLE_1: list[Cell] = [  # model, digits, experiment, the paper's accuracy in % (None: it has none) and its sd
    ("NNE", "0 to 4", "nne_mnist5", 92.1, None),
    ("NNE", "0 to 9", "nne_mnist10", 78.8, None),
    ("NNE + SignSGD", "0 to 4", "nne_signsgd_mnist5", 91.6, None),
    ("NNE + SignSGD", "0 to 9", "nne_signsgd_mnist10", 85.6, None),
    ("SGD", "0 to 4", "sgd_mnist5", 96.0, 0.4),
    ("SGD", "0 to 9", "sgd_mnist10", 88.2, 0.75),
    ("frozen hidden layer, SGD above: the floor", "0 to 4", "frozen_mnist5", None, None),
    ("frozen hidden layer, SGD above: the floor", "0 to 9", "frozen_mnist10", None, None),
]
TABLE_2: list[Cell] = [  # model, h, experiment, the paper's accuracy in %
    ("SGD (Adam)", "1,000", "adam_features_h1000", 90.34, None),
    ("SGD (Adam)", "100,000", "adam_features_h100k", 92.56, None),
    ("SignSGD", "1,000", "signsgd_features_h1000", 86.84, None),
    ("SignSGD", "100,000", "signsgd_features_h100k", 90.21, None),
    ("DNN", "1,000", "dnn_h1000", 84.84, None),
    ("DNN", "100,000", "dnn_h100k", 90.76, None),
    ("DNN, reward prediction", "1,000", "dnn_reward_h1000", 84.84, None),
    ("DNN, reward prediction", "100,000", "dnn_reward_h100k", 90.76, None),
]
HEADLINE = {
    "nne_mnist10": "NNE",
    "nne_signsgd_mnist10": "NNE + SignSGD",
    "sgd_mnist10": "SGD, same network",
    "frozen_mnist10": "the floor: the same network, its hidden layer frozen",
    "nne_mnist5": "NNE",
    "dnn_h1000": "DNN, h = 1,000",
    "dnn_h100k": "DNN, h = 100,000",
    "dnn_reward_h1000": "DNN, reward prediction, h = 1,000",
    "dnn_reward_h100k": "DNN, reward prediction, h = 100,000",
    "adam_features_h1000": "the floor: an untrained hidden layer, h = 1,000, and Adam",
}
SIZES = {"trainer.max_steps", "data.per_class", "learner.population", "features.width"}
CAPPED = ("features.cap", "learner.path", "data.source", "data.root", "data.download")
PAPER = {experiment: value for _, _, experiment, value, _ in (*TABLE_1, *TABLE_2) if value}
OTHERWISE: dict[str, Callable[[Any], str]] = {  # what a reading of the rule may have besides, in words; "" as usual
    "learner.presynaptic": lambda value: "1[h > 0] for h" if value == "binary" else "",
    "learner.batch": lambda value: "" if value == 1 else f"batch {value}",
    "features.standardise": lambda value: "" if value else "raw pixels",
    "learner.initial": lambda value: "W = 0 at first" if value == "zero" else "",
    "learner.decay": lambda value: "" if value == "none" else "ε1 falling to 0",
    "learner.average": lambda value: "averaged weights" if value else "",
}


def table_1(runs: list[Run], experiments: Experiments) -> list[Row]:
    """NNE, NNE + SignSGD and SGD on the digits 0 to 4 and 0 to 9; steps and seconds are medians."""
    return _against_paper(TABLE_1, "digits", runs, experiments)


def table_2(runs: list[Run], experiments: Experiments) -> list[Row]:
    """Output layers on random features: gradients and dopamine."""
    return _against_paper(TABLE_2, "h", runs, experiments)


def headline(runs: list[Run], experiments: Experiments) -> list[Row]:
    """Test accuracy on MNIST in %, 200 training images a digit: mean ± standard error over seeds."""
    rows = {row["experiment"]: row for make in (table_1, table_2) for row in make(runs, experiments)}
    told = [(name, rows[name]) for name in (f"`{name}`" for name in HEADLINE) if name in rows]
    return [
        {
            "": HEADLINE[name.strip("`")],
            "digits": row.get("digits", "0 to 9"),
            "paper": row["paper"] if "reward" not in name else "",
            "here": row["ours"],
            "seeds": str(len(row["seeds"].split(","))),
            "experiment": name,
        }
        for name, row in told
    ]


def comparable(runs: list[Run], experiments: Experiments) -> list[Run]:
    """The runs as they are written; where an experiment has none, those that differ in no more than their size."""
    whole = as_written(runs, experiments)
    done = {run.experiment for run in whole}
    digits = [run for run in runs if run.dataset in ("mnist", "embedded")]
    smaller = [run for run in digits if run.experiment in experiments and run.experiment not in done]
    return [*whole, *(r for r in smaller if settings(r, experiments[r.experiment]).keys() <= SIZES)]


def as_written(runs: list[Run], experiments: Experiments) -> list[Run]:
    """The runs on MNIST that have nothing otherwise than their experiment, but the seed."""
    known = [r for r in runs if r.experiment in experiments and r.dataset == "mnist"]
    return [r for r in known if not settings(r, experiments[r.experiment])]


def on_one(runs: list[Run]) -> list[Run]:
    """The runs on MNIST; where there is none, those on what stands in for it."""
    return [run for run in runs if run.dataset == "mnist"] or [run for run in runs if run.dataset == "embedded"]


def _against_paper(cells: list[Cell], column: str, runs: list[Run], experiments: Experiments) -> list[Row]:
    rows = []
    for model, where, name, value, sd in cells:
        group = [r for r in comparable(runs, experiments) if r.experiment == name]
        for otherwise, same in by_size(group, experiments).items():
            ours = [run.accuracy for run in same]
            rows.append(
                {
                    "model": model,
                    column: where,
                    "paper": (f"{value:g}" if value else "") + (f" ± {sd:g}" if sd else ""),
                    "ours": spread(ours, 2),
                    "difference": f"{mean(ours) - value:+.2f}" if value else "",
                    "seeds": seeds(same),
                    "steps": f"{median(run.summary['steps'] for run in same):.0f}",
                    "seconds": f"{median(run.summary['seconds'] for run in same):.0f}",
                    "experiment": f"`{name}`{otherwise}",
                }
            )
    return rows


def by_size(runs: list[Run], experiments: Experiments) -> dict[str, list[Run]]:
    """Runs of one experiment by the data set and the sizes that they have otherwise, in words."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        sizes = [f"{key}={typed(value)}" for key, value in settings(run, experiments[run.experiment]).items()]
        words = ([] if run.dataset == "mnist" else [f"data={run.dataset}"]) + sizes
        groups.setdefault("".join(f" `{word}`" for word in words), []).append(run)
    return groups


def others(runs: list[Run], experiments: Experiments) -> list[Row]:
    """Gradient learners on MNIST with something otherwise than their experiment, caps apart."""
    tried = on_one([r for r in runs if r.learner == "gradient" and r.experiment in experiments])
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in tried:
        differing = settings(run, experiments[run.experiment])
        if differing and not run.key("features.cap"):
            words = " ".join(
                f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                for name, value in differing.items()
            )
            groups.setdefault((run.experiment, words), []).append(run)
    return [
        {
            "experiment": f"`{name}`",
            "otherwise": f"`{words}`",
            "ours": spread((r.accuracy for r in group), 2),
            "seeds": seeds(group),
        }
        for (name, words), group in sorted(groups.items(), key=lambda item: [natural_key(part) for part in item[0]])
    ]


def everything(runs: list[Run], experiments: Experiments) -> list[Row]:
    """Runs of any learner, the user's own among them, grouped over seeds."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        words = " ".join(f"{name}={typed(value)}" for name, value in settings_of(run, experiments).items())
        groups.setdefault((run.experiment, run.learner, run.dataset, words), []).append(run)
    return [
        {
            "experiment": f"`{experiment}`",
            "learner": learner,
            "data": dataset,
            "settings": f"`{words}`" if words else "",
            "test accuracy, %": spread((run.accuracy for run in group), 2),
            "seeds": seeds(group),
        }
        for (experiment, learner, dataset, words), group in sorted(
            groups.items(), key=lambda item: [natural_key(part) for part in item[0]]
        )
    ]


def finetuning(runs: list[Run], _: Experiments) -> list[Row]:
    """Individuals drawn from an evolved p, before and after they learnt: means over them, compared over seeds."""
    rows = []
    for (name, dataset, _machine), group in grouped(r for r in runs if r.learner == "finetune").items():
        born, grown = ([[100 * a for a in r.summary[when]["each"]] for r in group] for when in ("before", "after"))
        pairs = [pair for run in zip(born, grown, strict=True) for pair in zip(*run, strict=True)]
        rows.append(
            {
                "experiment": f"`{name}`",
                "data": dataset,
                "before": spread(map(mean, born), 2),
                "after": spread(map(mean, grown), 2),
                "improved": f"{sum(after > before for before, after in pairs)} of {len(pairs)}",
                "seeds": seeds(group),
            }
        )
    return rows


def readings(runs: list[Run], experiments: Experiments) -> list[Row]:
    """Every reading of the dopamine rule that was tried on MNIST for its experiment's epochs, best first."""
    groups: dict[tuple[str, ...], dict[Any, list[Run]]] = {}
    for run in on_one([run for run in runs if run.learner == "dopamine"]):
        whole = "trainer.max_steps" not in settings_of(run, experiments)
        if run.key("learner.path") == "dual" and not run.key("features.cap") and whole:
            words = (in_words(run.key(name)) for name, in_words in OTHERWISE.items())
            reading = run.key("learner.rule"), f"{run.key('learner.epsilon_1'):g}", ", ".join(filter(None, words))
            groups.setdefault(reading, {}).setdefault(run.key("features.width"), []).append(run)

    def at(group: dict[Any, list[Run]], width: Any) -> str:
        return f"{spread(r.accuracy for r in group[width])} ({len(group[width])})" if width in group else ""

    def score(group: dict[Any, list[Run]]) -> float:
        return max(mean(r.accuracy for r in members) for members in group.values())

    return [
        {
            "rule": f"`{rule}`",
            "ε1": epsilon,
            "otherwise": otherwise,
            f"h = 1,000 (paper: {PAPER['dnn_h1000']})": at(group, 1000),
            f"h = 100,000 (paper: {PAPER['dnn_h100k']})": at(group, 100_000),
            "h = ∞": at(group, "inf"),
        }
        for (rule, epsilon, otherwise), group in sorted(groups.items(), key=lambda item: -score(item[1]))
    ]


def caps(runs: list[Run], _: Experiments) -> list[Row]:
    """Test accuracy under a cap of k hidden units, a row for each learner that was tried with several k."""
    dual = [r for r in runs if r.key("learner.path") != "primal"]
    return _by_cap(dual, lambda group: spread((r.accuracy for r in group), 1))


def cap_costs(runs: list[Run], _: Experiments) -> list[Row]:
    """Milliseconds of an epoch under a cap, where weights are what is updated."""
    touching = [r for r in runs if r.key("learner.path") != "dual"]
    return _by_cap(touching, lambda group: spread((1000 * r.step_seconds for r in group), 0))


def cap_groups(runs: list[Run]) -> list[dict[int | None, list[Run]]]:
    """Runs by their cap, for every learner on random features that was tried with several."""
    groups: dict[str, dict[int | None, list[Run]]] = {}
    for run in on_one([run for run in runs if run.key("features.width") is not None]):
        parts = {name: run.summary["config"][name] for name in ("data", "features", "learner")}
        every = {**flat(parts), "trainer.max_steps": run.key("trainer.max_steps")}
        same = {name: value for name, value in every.items() if name not in CAPPED}
        groups.setdefault(f"{same}", {}).setdefault(run.key("features.cap"), []).append(run)
    return [by_cap for _, by_cap in sorted(groups.items()) if len(by_cap) > 1]


def _by_cap(runs: list[Run], cell: Callable[[list[Run]], str]) -> list[Row]:
    tried = cap_groups(runs)
    caps = sorted({k for by_cap in tried for k in by_cap}, key=lambda k: k or float("inf"))
    rows = []
    for by_cap in tried:
        run = next(iter(by_cap.values()))[0]
        rows.append(capped(run) | {f"k = {k or 'none'}": cell(by_cap[k]) if k in by_cap else "" for k in caps})
    return sorted(rows, key=lambda row: (row["learner"], row["pixels"], row["ε"], row["decay"]))


def capped(run: Run) -> Row:
    """What learns under a cap, and on what."""
    return {
        "learner": f"`{run.key('learner.rule') or run.key('learner.optimiser')}`",
        "ε": f"{run.key('learner.epsilon_1') or run.key('learner.learning_rate'):g}",
        "decay": run.key("learner.decay"),
        "pixels": "standardised" if run.key("features.standardise") else "raw",
        "h": f"{run.key('features.width'):,}",
        "epochs": f"at most {run.key('trainer.max_steps')}",
    }


def settings_of(run: Run, experiments: Experiments) -> dict[str, Any]:
    """What a run has otherwise than its experiment; nothing, where that is not known."""
    return settings(run, experiments[run.experiment]) if run.experiment in experiments else {}
