"""Filters that evolved, beside the same filters under backpropagation and left as they were drawn."""

from collections.abc import Callable
from statistics import mean, median

from nne.training.io.results import Row, Run, grouped, seeds, spread
from reporting.tables import Experiments, on_one

FLOOR, CEILING = "filters as they were drawn, Adam above: the floor", "all layers by Adam: the ceiling"
EVOLVED, TRAINED = "nne_filters_mnist10", "adam_filters_mnist10"
KEYS = ("network.filters", "network.frozen", "learner.population", "learner.epsilon", "data.per_class", "data.jitter")


def chosen(runs: list[Run]) -> list[Run]:
    """The runs that the table is about."""
    return [run for run in on_one(runs) if run.experiment in (EVOLVED, TRAINED)]


def kind(run: Run) -> str:
    """How the hidden layer came to be what it is."""
    if run.experiment == EVOLVED:
        return "all layers evolve"
    return FLOOR if run.key("network.frozen") else CEILING


def evaluations(run: Run) -> str:
    """Millions of individuals times images."""
    if run.experiment != EVOLVED:
        return ""
    return f"{run.summary['steps'] * run.key('learner.population') * run.key('learner.batch') / 1e6:.0f}"


def filters(runs: list[Run], _: Experiments) -> list[Row]:
    """Test accuracy in %, mean ± standard error over seeds; seconds are medians.

    Gained: of what Adam gains over the floor with as many filters, where all three are there.
    """
    found = grouped(chosen(runs), *KEYS)
    groups = list(found.values())
    reached = {(kind(g[0]), g[0].key("network.filters")): mean(run.accuracy for run in g) for g in groups}
    rows = []
    for group in groups:
        count = group[0].key("network.filters")
        floor, ceiling = (reached.get((of, count)) for of in (FLOOR, CEILING))
        own = mean(run.accuracy for run in group)
        gained = "" if floor is None or ceiling is None else f"{100 * (own - floor) / (ceiling - floor):.0f} %"
        N = group[0].key("learner.population")
        rows.append(
            {
                "how": kind(group[0]),
                "filters": str(count),
                "N": str(N or ""),
                "test accuracy, %": spread((run.accuracy for run in group), 2),
                "gained": gained,
                "evaluations, millions": evaluations(group[0]),
                "seeds": seeds(group),
                "seconds": f"{median(run.summary['seconds'] for run in group):.0f}",
            }
        )
    return rows


TABLES: dict[str, Callable[[list[Run], Experiments], list[Row]]] = {"filters": filters}
