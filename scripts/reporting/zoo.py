"""The zoo's tables and figure: rule by network, on few images and on all, beside its floor and its ceiling."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from statistics import mean, median

from matplotlib.figure import Figure
from scipy.stats import ttest_rel
from torch.utils.flop_counter import FlopCounterMode

from nne.registry import CLASSES, build, composed
from nne.training.config import flat
from nne.training.data import load
from nne.training.device import choose
from nne.training.io.results import Row, Run, grouped, is_relevant, seeds, spread, typed
from nne.training.logging import figures
from nne.training.plugin import load as loaded
from nne.zoo.feedback import PATHWAYS
from nne.zoo.layers import Need
from reporting.published import PUBLISHED, published
from reporting.tables import Experiments, on_one

NETWORKS = {"1000": "784-1000-10", "32": "784-32-10", "[1000,500]": "784-1000-500-10"}
NAMES = {
    "backprop": "backpropagation",
    "kp": "Kolen-Pollack",
    "sign": "sign symmetry",
    "mirror": "weight mirror",
    "fa": "feedback alignment",
    "dfa": "direct feedback alignment",
    "dtp": "difference target propagation",
    "pc": "predictive coding",
    "ep": "equilibrium propagation",
    "pepita": "PEPITA",
    "drtp": "direct random target projection",
    "ff": "forward-forward",
    "np": "node perturbation",
    "rank1": "rank-one weight perturbation",
    "wp": "weight perturbation",
    "nne": "evolution (NNE)",
    "dnn_h1000": "dopaminergic plasticity (DNN)",
    "dnn_reward_h1000": "DNN, reward prediction",
    "kh": "competing units, Adam above",
    "assemblies": "assemblies, Adam above",
    "frozen": "frozen hidden layers",
}
SPIKING = {"rstdp": "reward-modulated STDP", "spiking": "Diehl and Cook's network"}
FLOOR, CEILING = "frozen", "backprop"
DEEP = "[1000,500]"
Cells = dict[tuple[str, str], list[Run]]


def cells(runs: list[Run], everything: bool) -> Cells:
    """Runs by rule and network: on 200 images a digit, or on all of MNIST."""
    found: Cells = defaultdict(list)
    for run in on_one(runs):
        if any(each.is_of(run) for each in PUBLISHED):
            continue
        rule = run.experiment.removesuffix("_mnist10")
        hidden = typed(run.key("network.hidden") or run.key("features.width"))
        few = run.key("data.per_class") is not None
        if rule in NAMES and hidden in NETWORKS and few != everything:
            found[rule, hidden].append(run)
    return {cell: alike(group) for cell, group in found.items()}


def alike(runs: list[Run]) -> list[Run]:
    """Those that differ in nothing but their seed: by the settings that most seeds ran with, or else the longest."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        settings = {name: value for name, value in flat(run.summary["config"]).items() if is_relevant(name)}
        groups[str(settings)].append(run)

    def seeds_and_steps(group: list[Run]) -> tuple[int, float]:
        return len({run.summary["seed"] for run in group}), median(run.summary["steps"] for run in group)

    return max(groups.values(), key=seeds_and_steps)


def experiment(rule: str) -> str:
    """The name of the experiment that a rule is."""
    return rule if rule.startswith("dnn") else f"{rule}_mnist10"


def chosen(runs: list[Run]) -> list[Run]:
    """The runs that any of the tables is about."""
    spiking = [run for run in runs if run.experiment.removesuffix("_mnist10") in SPIKING]
    elsewhere = [run for run in runs if any(each.is_of(run) for each in PUBLISHED)]
    in_cells = [run for each in (False, True) for group in cells(runs, each).values() for run in group]
    return in_cells + spiking + elsewhere


def accuracies(runs: list[Run], everything: bool) -> list[Row]:
    """Test accuracy in %, mean ± standard error; how many seeds, network by network; seconds are medians."""
    found = cells(runs, everything)
    shown = {hidden: network for hidden, network in NETWORKS.items() if any(hidden == of for _, of in found)}
    rows = []
    for rule, name in NAMES.items():
        own = {hidden: found[rule, hidden] for hidden in NETWORKS if (rule, hidden) in found}
        if not own:
            continue
        row = {"rule": name, "experiment": f"`{experiment(rule)}`"}
        for hidden, network in shown.items():
            row[network] = spread((r.accuracy for r in own[hidden]), 2) if hidden in own else ""
        steps = {f"{median(r.summary['steps'] for r in group):.0f}" for group in own.values()}
        seconds = [f"{median(r.summary['seconds'] for r in group):.0f}" for group in own.values()]
        least, most = min(seconds, key=int), max(seconds, key=int)
        row |= {
            "seeds": ", ".join(str(len(group)) for group in own.values()),
            "steps": ", ".join(sorted(steps)),
            "seconds": least if least == most else f"{least} to {most}",
        }
        rows.append(row)
    return rows


def zoo(runs: list[Run], _: Experiments) -> list[Row]:
    """On 200 images a digit."""
    return accuracies(runs, everything=False)


def zoo_all(runs: list[Run], _: Experiments) -> list[Row]:
    """On all 60,000 images."""
    return accuracies(runs, everything=True)


def gains(runs: list[Run], _: Experiments) -> list[Row]:
    """Points above the frozen hidden layers of the same seeds, ± standard error; the share of what backpropagation has.

    A star: different from the floor with p < 0.01 (paired t-test over seeds).
    """
    found = cells(runs, everything=False)
    rows = []
    for rule, name in NAMES.items():
        row = {"rule": name}
        for hidden, network in NETWORKS.items():
            row[network] = gain(*(found.get((each, hidden), []) for each in (rule, FLOOR, CEILING)))
        if rule != FLOOR and any(list(row.values())[1:]):
            rows.append(row)
    return rows


def gain(own: list[Run], floor: list[Run], ceiling: list[Run]) -> str:
    """One cell of ``gains``; empty where fewer than two seeds can be paired."""
    ours, theirs, best = ({run.summary["seed"]: run.accuracy for run in each} for each in (own, floor, ceiling))
    shared = sorted(ours.keys() & theirs.keys())
    if len(shared) < 2:
        return ""
    differences = [ours[seed] - theirs[seed] for seed in shared]
    star = "*" if ttest_rel([ours[s] for s in shared], [theirs[s] for s in shared]).pvalue < 0.01 else ""
    all_three = [seed for seed in shared if seed in best]
    gained, most = (sum(each[seed] - theirs[seed] for seed in all_three) for each in (ours, best))
    share = f" ({100 * gained / most:.0f} %)" if most > 0 and gained > 0 else ""
    return f"{'+' if mean(differences) > 0 else ''}{spread(differences, 2)}{star}{share}"


def needs(runs: list[Run], _: Experiments) -> list[Row]:
    """What hidden layers need, to learn by each rule, that a neuron may not have: as its class says.

    And the operations of an epoch, in products, beside those of backpropagation through the same network.
    """
    ruled = {rule for rule, _hidden in cells(runs, everything=False)}
    rows = []
    for rule, name in NAMES.items():
        learner = composed(f"experiment={experiment(rule)}").learner
        pathway = PATHWAYS[learner.rule] if learner.name == "feedback" else None
        of = getattr(pathway or loaded("learner", CLASSES[learner.name]), "needs", None)
        if rule in ruled and of is not None:
            hidden = DEEP if rule == "dtp" else "1000"  # target propagation needs two hidden layers
            times = operations(rule, hidden) / operations(CEILING, hidden)
            needed = {need.value: "x" if need in of else "" for need in Need}
            rows.append({"rule": name} | needed | {"operations, of backpropagation's": f"{times:.2f}"})
    return rows


@cache
def operations(rule: str, hidden: str) -> int:
    """Floating-point operations of the matrix products in one epoch of 2,000 images."""
    config = composed(f"experiment={experiment(rule)}", "data=embedded", f"network.hidden={hidden}", "device=cpu")
    learner = build(config, load(config.images, config.seed), choose("cpu", "float32"))
    with FlopCounterMode(display=False) as counted:
        learner.step()
    return int(counted.get_total_flops())


def spikes(runs: list[Run], _: Experiments) -> list[Row]:
    """Layers of spiking neurons, on 200 images a digit."""
    rows = []
    for rule, name in SPIKING.items():
        own = [run for run in on_one(runs) if run.experiment == f"{rule}_mnist10"]
        for (_name, _data, _machine, neurons), group in grouped(own, "learner.neurons").items():
            per_class = rule == "rstdp"
            rows.append(
                {
                    "rule": name,
                    "experiment": f"`{rule}_mnist10`",
                    "neurons": str(10 * neurons if per_class else neurons),
                    "test accuracy, %": spread((run.accuracy for run in group), 2),
                    "seeds": seeds(group),
                    "passes": f"{median(run.summary['steps'] for run in group):.0f}",
                    "seconds": f"{median(run.summary['seconds'] for run in group):.0f}",
                }
            )
    return rows


def alignment(runs: list[Run], _: Experiments) -> Figure | None:
    """The cosine between a rule's changes and the gradient, against epochs: narrow on the left, wide on the right."""
    found = {cell: group for cell, group in cells(runs, everything=False).items() if aligned(group)}
    if not found:
        return None
    figure, both = figures.pair(height=3.6)
    drawn = sorted({rule for rule, _ in found}, key=list(NAMES).index)
    for axes, hidden in zip(both, ("32", "1000"), strict=True):
        for i, rule in enumerate(drawn):
            if (rule, hidden) in found:
                epochs, cosines = averaged(run.column("alignment/cosine") for run in found[rule, hidden])
                style = figures.series_style(i) | {"markevery": max(len(epochs) // 6, 1)}
                axes.plot(epochs, cosines, **style, label=NAMES[rule])
        axes.set(xlabel="epochs", xscale="log", title=NETWORKS[hidden], ylim=(-0.1, 1.05))
    both[0].set_ylabel("cosine with the gradient")
    figures.legend(figure, max(both, key=lambda axes: len(axes.lines)), columns=4)
    return figure


def aligned(group: list[Run]) -> bool:
    """Whether there is an alignment that is not zero by definition."""
    return "zoo" in CLASSES.get(group[0].learner, "") and not group[0].experiment.startswith(FLOOR)


def averaged(columns: Iterable[list[tuple[int, float, float]]]) -> tuple[list[int], list[float]]:
    """The mean over runs of what was measured at each step that all have."""
    by_step = [{step: value for step, _seconds, value in column} for column in columns]
    shared = sorted(set.intersection(*(set(each) for each in by_step)))
    return shared, [mean(each[step] for each in by_step) for step in shared]


TABLES: dict[str, Callable[[list[Run], Experiments], list[Row]]] = {
    "zoo": zoo,
    "zoo_gains": gains,
    "zoo_all": zoo_all,
    "zoo_spikes": spikes,
    "zoo_needs": needs,
    "zoo_published": published,
}
