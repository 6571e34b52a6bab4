"""What rules reached as their authors published them, and what they reach here on the same networks."""

from dataclasses import dataclass
from statistics import median

from nne.training.io.results import Row, Run, seeds, spread, typed
from reporting.tables import Experiments, on_one

ALL = ("data.per_class=null", "network.edge_probability=1.0")
FIVE = "network.hidden=[256,256,256,256,256]"


@dataclass(frozen=True)
class Published:
    """A rule on a network that was published, which learns all 60,000 training images.

    Args:
        rule: of the zoo.
        network: in words.
        overrides: of the rule's experiment, but for its learning rate.
        accuracy: on test images, in %, as the source has it.
        source: who published it.
        differs: what is otherwise here, besides that there are no biases.
    """

    rule: str
    network: str
    overrides: tuple[str, ...]
    accuracy: str
    source: str
    differs: str

    def is_of(self, run: Run) -> bool:
        """Whether a run is what ``overrides`` say."""
        wanted = (override.split("=", 1) for override in self.overrides)
        return run.experiment == f"{self.rule}_mnist10" and all(typed(run.key(key)) == value for key, value in wanted)


PUBLISHED = [
    Published(
        "fa",
        "784-1000-10",
        (*ALL, "network.hidden=1000", "learner.batch=64", "trainer.max_steps=30"),
        "97.9",
        "Lillicrap et al. 2016, as others quote it",
        "ReLU for sigmoid units",
    ),
    Published(
        "pepita",
        "784-1024-10",
        (*ALL, "network.hidden=1024", "learner.scale=0.1", "learner.batch=64", "trainer.max_steps=30"),
        "98.01",
        "Dellaferrera and Kreiman 2022, as others quote it",
        "30 epochs for 100, no dropout, no momentum",
    ),
    Published(
        "ep",
        "784-500-10",
        (*ALL, "network.hidden=500", "learner.batch=20", "trainer.max_steps=25"),
        "97 to 98",
        "Scellier and Bengio 2017",
        "each free phase begins at 0, one rate for both layers",
    ),
    Published(
        "pc",
        "784-600-600-10",
        (*ALL, "network.hidden=[600,600]", "learner.precision_of_label=0.1", "trainer.max_steps=10"),
        "98.2 to 98.3",
        "Whittington and Bogacz 2017 (on validation images)",
        "ReLU for sigmoid units, SGD for Adam, 10 epochs",
    ),
    Published(
        "kh",
        "784-2000-10",
        ("data.per_class=null", "features.width=2000", "features.epochs=20", "trainer.max_steps=20"),
        "98.54",
        "Krotov and Hopfield 2019, as others quote it",
        "p = 2 and k = 2 for 3 and 7, ReLU without a power",
    ),
    *(
        Published(
            rule,
            "784-256 x 5-10",
            (*ALL, FIVE, "trainer.max_steps=20"),
            accuracy,
            "Bartunov et al. 2018",
            differs,
        )
        for rule, accuracy, differs in (
            ("backprop", "98.52", "ReLU for tanh units, SGD for Adam, 20 epochs for 500"),
            ("dtp", "98.17", "SGD for Adam, 20 epochs for 500"),
        )
    ),
]


def published(runs: list[Run], _: Experiments) -> list[Row]:
    """Test accuracy in %, as published and here; mean ± standard error over seeds."""
    rows = []
    for each in PUBLISHED:
        own = [run for run in on_one(runs) if each.is_of(run)]
        if own:
            rows.append(
                {
                    "rule": each.rule,
                    "network": each.network,
                    "published, %": each.accuracy,
                    "ours, %": spread((run.accuracy for run in own), 2),
                    "seeds": seeds(own),
                    "seconds": f"{median(run.summary['seconds'] for run in own):.0f}",
                    "source": each.source,
                    "otherwise here": each.differs,
                }
            )
    return rows
