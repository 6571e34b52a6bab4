"""Filters that evolved, beside the same filters under backpropagation and left as they were drawn."""

from collections.abc import Callable
from statistics import mean, median

from matplotlib.figure import Figure

from nne.training.io.results import Row, Run, grouped, seeds, spread
from nne.training.logging import figures
from nne.training.parts import listed
from reporting.tables import Experiments, on_one
from reporting.zoo import averaged

FLOOR, CEILING = "hidden layer as it was drawn, Adam above: the floor", "all layers by Adam: the ceiling"
TRAINED, ABLATED = "adam_filters_mnist10", "nne_filters_mnist10"
EVOLVED = {
    "nne_filters_mnist10": "all layers evolve",
    "nne_filters_mnist10_all": "all layers evolve",
    "nne_filters_mnist5": "all layers evolve",
    "nne_deep_filters_mnist10": "all layers evolve",
    "nne_deep_filters_mnist10_all": "all layers evolve",
    "nne_fields_mnist10": "all layers evolve",
    "nne_apart_mnist10": "all layers evolve",
    "nne_readout_mnist10": "the readout evolves",
}
OWN: dict[str, tuple[str, object]] = {  # what an experiment has of CHANGES, as it is written
    "nne_fields_mnist10": ("network.shared", False),
    "nne_readout_mnist10": ("network.frozen", True),
    "nne_apart_mnist10": ("learner.credit", "class"),
}
TASK = ("data.classes", "data.per_class", "network.filters", "network.shared", "network.hidden")
KEYS = ("network.frozen", "learner.genes", "learner.population", "trainer.max_steps")
ASKED = {"learner.expression": "identity", "learner.freeze": None, "learner.groups": 1, "network.cap": None}
CHANGES: dict[str, tuple[str, object]] = {
    "images without jitter": ("data.jitter", 0),
    "a class's genes by its own share, filters by the total": ("learner.credit", "class"),
    "all genes by the total": ("learner.credit", "total"),
    "rough patterns": ("learner.smooth", 0),
    "logits that are not centred": ("learner.centre_logits", False),
    "p begins anywhere": ("learner.p0", 0.5),
    "nothing shared between places": ("network.shared", False),
    "filters as they were drawn": ("network.frozen", True),
}


def changed(run: Run) -> tuple[str, ...]:
    """What has been taken from the experiment of an evolution."""
    own = OWN.get(run.experiment)
    return tuple(name for name, (key, value) in CHANGES.items() if run.key(key) == value and (key, value) != own)


def chosen(runs: list[Run]) -> list[Run]:
    """The runs that the tables are about: none that asks what another table answers (Sec. 4)."""

    def usual(run: Run) -> bool:
        return run.key("learner.batch") != 1 and all(run.key(key) in (None, value) for key, value in ASKED.items())

    return [run for run in on_one(runs) if run.experiment in (*EVOLVED, TRAINED) and usual(run)]


def kind(run: Run) -> str:
    """How the hidden layer came to be what it is."""
    return EVOLVED.get(run.experiment) or (FLOOR if run.key("network.frozen") else CEILING)


def evaluations(runs: list[Run]) -> str:
    """Millions of individuals times images, on average."""
    if runs[0].experiment == TRAINED:
        return ""
    each = [run.summary["steps"] * run.key("learner.population") * images_of_a_generation(run) for run in runs]
    return f"{mean(each) / 1e6:.1f}"


def images_of_a_generation(run: Run) -> int:
    """The minibatch, or all of them."""
    return int(run.key("learner.batch") or run.summary["train_size"])


def task(run: Run) -> tuple[object, ...]:
    """What has the same floor and ceiling."""
    return tuple(str(run.key(name)) for name in TASK)


def by_task(runs: list[Run]) -> dict[tuple[object, ...], list[Run]]:
    """Runs by what they have to learn, and with which network."""
    found: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(task(run), []).append(run)
    return found


def images(run: Run) -> str:
    """How many, and of which digits if not of all."""
    classes, each = run.key("data.classes"), run.key("data.per_class")
    count = f"{len(classes) * each:,}" if each else "all"
    return count if len(classes) == 10 else f"{count}, of {', '.join(map(str, classes))}"


def network(run: Run) -> str:
    """How many filters, layer by layer; or fields, if nothing is shared; or units of a random graph."""
    count = run.key("network.filters")
    if count is None:
        return f"{' and '.join(f'{units:,}' for units in listed(run.key('network.hidden')))} units, random graph"
    if isinstance(count, list):
        return f"{' and '.join(map(str, count))} filters"
    return f"{count} filters" if run.key("network.shared") else f"{count * run.key('network.places') ** 2:,} fields"


def filters(runs: list[Run], _: Experiments) -> list[Row]:
    """Test accuracy in %, mean ± standard error over seeds; seconds are medians.

    Gained: of what Adam gains over the floor with the same network and images, where all three are there.
    """
    whole = [run for run in chosen(runs) if run.experiment == TRAINED or not changed(run)]
    groups = [same for of in by_task(whole).values() for same in grouped(of, *KEYS).values()]
    reached = {(kind(g[0]), task(g[0])): mean(run.accuracy for run in g) for g in groups}
    order = [CEILING, *dict.fromkeys(EVOLVED.values()), FLOOR]
    rows = []
    for group in sorted(groups, key=lambda g: (images(g[0]), network(g[0]), order.index(kind(g[0])))):
        one = group[0]
        floor, ceiling = (reached.get((of, task(one))) for of in (FLOOR, CEILING))
        own = mean(run.accuracy for run in group)
        gained = ""
        if floor is not None and ceiling is not None and ceiling != floor:
            gained = f"{100 * (own - floor) / (ceiling - floor):.0f} %"
        genes = one.key("learner.genes")
        rows.append(
            {
                "images": images(one),
                "network": network(one),
                "how": kind(one),
                "genes": f"{genes:,}" if genes else "",
                "test accuracy, %": spread((run.accuracy for run in group), 2),
                "gained": gained,
                "evaluations, millions": evaluations(group),
                "seeds": seeds(group),
                "seconds": f"{median(run.summary['seconds'] for run in group):.0f}",
            }
        )
    return rows


def ablated(runs: list[Run]) -> dict[tuple[str, ...], list[Run]]:
    """The runs of ten filters on 2,000 images, by what was taken away, if no more than one thing was."""
    evolved = [run for run in chosen(runs) if run.experiment == ABLATED and len(changed(run)) <= 1]
    by_change: dict[tuple[str, ...], list[Run]] = {}
    for run in evolved:
        if run.key("network.filters") == 10 and images(run) == "2,000":
            by_change.setdefault(changed(run), []).append(run)
    return by_change


def learning(runs: list[Run], _: Experiments) -> Figure | None:
    """Test accuracy of individuals against evaluations, with one thing taken away; floor and ceiling."""
    by_change = ablated(runs)
    if () not in by_change:
        return None
    figure, axes = figures.new(6.0, 4.0)
    for i, (change, group) in enumerate(sorted(by_change.items())):
        steps, accuracies = averaged(run.column(run.headline) for run in group)
        each = group[0].key("learner.population") * images_of_a_generation(group[0]) / 1e6
        label = "".join(change) or "the experiment as it is"
        axes.plot([s * each for s in steps], [100 * a for a in accuracies], **figures.series_style(i), label=label)
    for kind_of, line in ((CEILING, "-"), (FLOOR, ":")):
        same = [run for run in chosen(runs) if kind(run) == kind_of and task(run) == task(by_change[()][0])]
        if same:
            axes.axhline(mean(run.accuracy for run in same), color="#999999", linestyle=line, label=kind_of)
    axes.set(xlabel="evaluations, millions", ylabel="test accuracy, %", ylim=(90, 98.5))
    figures.legend(figure, axes, columns=1)
    return figure


def filters_ablation(runs: list[Run], _: Experiments) -> list[Row]:
    """The experiment of ten filters with one thing taken away at a time, at equal evaluations."""
    by_change = ablated(runs)
    if len(by_change) < 2 or () not in by_change:
        return []
    all_of_it = mean(run.accuracy for run in by_change[()])
    return [
        {
            "taken away": "".join(change) or "nothing",
            "test accuracy, %": spread((run.accuracy for run in group), 2),
            "lost": f"{all_of_it - mean(run.accuracy for run in group):.2f}" if change else "",
            "evaluations, millions": evaluations(group),
            "seeds": seeds(group),
        }
        for change, group in sorted(by_change.items(), key=lambda item: -mean(run.accuracy for run in item[1]))
    ]


TABLES: dict[str, Callable[[list[Run], Experiments], list[Row]]] = {
    "filters": filters,
    "filters_ablation": filters_ablation,
}
