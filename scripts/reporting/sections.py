"""What a report holds, in its order: which runs each part is about, its tables and its figures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from benchmarks import evolutions
from nne.registry import LEARNERS
from nne.training.io.results import Row, Run
from reporting import filters, pictures, tables, zoo
from reporting.tables import Cell, Experiments, on_one

Draw = Callable[[list[Run], Experiments], Figure | None]
Select = Callable[[list[Run], Experiments], list[Run]]


@dataclass(frozen=True)
class Part:
    """One part. Tables and figures are made from the runs that ``select`` chooses, and from no others."""

    title: str
    text: str
    select: Select
    tables: dict[str, Callable[[list[Run], Experiments], list[Row]]] = field(default_factory=dict)
    figures: dict[str, Draw] = field(default_factory=dict)


def learners(*names: str) -> Select:
    """All runs of some learners."""
    return lambda runs, _: [run for run in runs if run.learner in names]


def cells(known: Iterable[Cell]) -> Select:
    """The runs that a table of the paper is compared with."""
    names = [cell[2] for cell in known]
    return lambda runs, experiments: [
        run for name in names for run in tables.comparable(runs, experiments) if run.experiment == name
    ]


def longest(runs: list[Run], experiments: Experiments) -> list[Run]:
    """The evolution with the most generations, of those as they are written if there are any."""
    evolved = [run for run in runs if run.learner == "evolution"]
    written = tables.comparable(evolved, experiments)
    return [max(written or evolved, key=lambda run: int(run.summary["generations"]))] if evolved else []


def as_written(runs: list[Run], experiments: Experiments) -> list[Run]:
    """The evolutions as they are written, if there are any; else all."""
    evolved = [run for run in runs if run.learner == "evolution"]
    return tables.comparable(evolved, experiments) or evolved


def by_genes(digits: int) -> Select:
    """Evolutions of the first ``digits`` digits that differ in nothing but the number of genes."""
    return lambda runs, experiments: pictures.swept(
        [r for r in runs if r.learner == "evolution" and len(r.key("data.classes")) == digits], experiments
    )


def capped(runs: list[Run], _: Experiments) -> list[Run]:
    """Output layers on random features that were tried with several caps."""
    return [run for by_cap in tables.cap_groups(runs) for group in by_cap.values() for run in group]


PARTS = [
    Part(
        "In short",
        "What was measured beside what the paper reports.",
        cells([*tables.TABLE_1, *tables.TABLE_2]),
        {"headline": tables.headline},
    ),
    Part(
        "Table 1. Neural net evolution",
        "Test accuracy in %, ours beside the paper's: mean ± standard error over seeds; steps and seconds are medians.",
        cells(tables.TABLE_1),
        {"table1": tables.table_1, "finetuning": tables.finetuning},
        {"table1": lambda runs, known: pictures.beside_paper(tables.table_1(runs, known), "digits")},
    ),
    Part(
        "Table 2. Dopaminergic plasticity",
        "Output layers on h fixed random features, by gradients and by dopamine.",
        cells(tables.TABLE_2),
        {"table2": tables.table_2},
        {
            "table2": lambda runs, known: pictures.beside_paper(tables.table_2(runs, known), "h"),
            "dopamine": pictures.dopamine,
        },
    ),
    Part(
        "Learning curves of evolution",
        "Test accuracy of individuals against generations and seconds of work: mean and standard error over seeds.",
        as_written,
        figures={"learning": pictures.evolution},
    ),
    Part(
        "Figure 2. Alleles become fixed",
        "The share of allele frequencies that are more than x away from both 0 and 1, after t generations.",
        longest,
        figures={"figure2": pictures.figure_2},
    ),
    Part(
        "Trajectories of alleles",
        "What became of the first fifty genes.",
        longest,
        figures={"trajectories": pictures.trajectories},
    ),
    Part(
        "Figure 3a. Number of genes, digits 0 to 4",
        "Test accuracy of individuals; dashed: the paper's Table 1 (its Fig. 3 prints no figures).",
        by_genes(5),
        figures={"figure3a": pictures.figure_3},
    ),
    Part(
        "Figure 3b. Number of genes, digits 0 to 9",
        "Test accuracy of individuals; dashed: the paper's Table 1 (its Fig. 3 prints no figures).",
        by_genes(10),
        figures={"figure3b": pictures.figure_3},
    ),
    Part(
        "k-cap",
        "Test accuracy where only the k most active hidden units may fire (Sec. 4, item 5), and what an epoch costs.",
        capped,
        {"caps": tables.caps, "cap_costs": tables.cap_costs},
        {"caps": pictures.caps},
    ),
    Part(
        "Readings of the dopamine rule",
        "Every reading that was tried for its experiment's epochs, best first.",
        learners("dopamine"),
        {"readings": tables.readings},
    ),
    Part(
        "Linear targets",
        "The cosine of W p and the target, and how far the loss fell beside what Theorem 1 guarantees (Sec. 2.1).",
        learners("linear"),
        {"linear": evolutions.linear},
        {"linear": pictures.linear},
    ),
    Part(
        "What Section 4 asks",
        "Variants of nne_mnist10 and nne_filters_mnist10 that answer the paper's questions, and rules of selection.",
        lambda runs, _: on_one([r for r in runs if r.experiment in (evolutions.VARIED, evolutions.ON_FILTERS)]),
        {
            "questions": evolutions.questions,
            "filters_questions": evolutions.filters_questions,
            "selection": evolutions.selection,
        },
    ),
    Part("All evolutions", "By the number of genes.", learners("evolution"), {"evolution": evolutions.evolution}),
    Part(
        "All runs",
        "Every finished run that tells classes apart: test accuracy in %, mean ± standard error over seeds.",
        lambda runs, _: [run for run in runs if "test_accuracy" in run.summary],
        {"runs": tables.everything},
    ),
    Part("Other gradients", "Baselines otherwise than as written.", learners("gradient"), {"others": tables.others}),
    Part(
        "The zoo",
        "Ways to learn without backpropagation, the floor (hidden layers frozen) and the ceiling (backpropagation).",
        lambda runs, _: zoo.chosen(runs),
        zoo.TABLES,
        {"zoo_alignment": zoo.alignment},
    ),
    Part(
        "Filters",
        "The same network of filters: evolved, trained by Adam, and as it was drawn.",
        lambda runs, _: filters.chosen(runs),
        filters.TABLES,
        {"filters_learning": filters.learning},
    ),
    Part(
        "Other learners",
        "Learning curves of learners that are not this project's own: mean and standard error over seeds.",
        lambda runs, _: [run for run in runs if run.learner not in LEARNERS],
        figures={"others_learning": pictures.others},
    ),
]
