"""What `scripts/reproduce.py` runs, stage by stage: sweeps over seeds, and scripts of theory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting.published import PUBLISHED

TUNED = Path(__file__).parents[1] / "tuned.json"
NETWORKS = {"wide": "1000", "narrow": "32", "deep": "[1000,500]"}
TINY = ("data=embedded",)


@dataclass(frozen=True)
class Stage:
    """A sweep over seeds.

    seconds: of one job in full, where `REFERENCE` was measured.
    overrides: what it is, beside its seed.
    tiny: what makes it small enough for a smoke test.
    slow: whether it has fewer seeds than others.
    only: the scales it is for, if not for all.
    seeds: if it has others than its scale.
    evolved: the stage whose individuals learn here, seed by seed.
    """

    name: str
    seconds: float
    overrides: tuple[str, ...]
    tiny: tuple[str, ...] = (*TINY, "trainer.max_steps=5")
    slow: bool = False
    only: tuple[str, ...] | None = None
    evolved: str | None = None
    seeds: str | None = None


@dataclass(frozen=True)
class Analysis:
    """A script of theory, which is run once."""

    name: str
    seconds: float


def evolving(name: str, seconds: float, *overrides: str, **how: Any) -> Stage:
    """A stage of evolution."""
    return Stage(name, seconds, overrides, (*TINY, "trainer.max_steps=12", "learner.population=200"), **how)


def features(name: str, seconds: float, experiment: str, *overrides: str, **how: Any) -> Stage:
    """A stage of learning on random features."""
    width = () if experiment == "dnn_infinite" else ("features.width=4100",)
    tiny = (*TINY, "trainer.max_steps=5", *width)
    return Stage(name, seconds, (f"experiment={experiment}", *overrides), tiny, **how)


SWEPT = "learner.genes=500,1000,2000,5000"
RULES = "learner.rule=literal,text,introduction,gated,reward_prediction_drawn"
MORE_RULES = (
    "learner.rule=gated_drawn,gated_graded,gated_broadcast,demonstration,delta,reward_prediction,"
    "introduction_broadcast,introduction_drawn,introduction_graded"
)
READINGS = {
    "batch": "learner.batch=50",
    "decay": "learner.decay=linear",
    "average": "learner.average=true",
    "initial": "learner.initial=zero",
    "raw": "features.standardise=false",
    "binary": "learner.presynaptic=binary",
}
VARIANTS = {"freeze": "learner.freeze=0.002", "relu": "learner.expression=relu", "igo": "learner.selection=igo"}
MORE_VARIANTS = {
    "sigmoid": "learner.expression=sigmoid",
    "tanh": "learner.expression=tanh",
    "deeper": "network.hidden=[300,100]",
    "selection": "learner.selection=pbil,compact_ga,momentum,adam,ridge",
}


def tuned() -> dict[str, dict[str, float]]:
    """The learning rate of every rule of the zoo on every network that it can train, as `scripts/tune.py` found it."""
    found = json.loads(TUNED.read_text())
    return {rule: {network: of["rate"] for network, of in on.items()} for rule, on in found.items()}


def zoo() -> Iterator[Stage]:
    """Every rule on every network, for 50 epochs of 2,000 images, and for 5 of all."""
    rates_of = tuned()
    for rule, rates in rates_of.items():
        for network in [each for each in NETWORKS if each in rates]:
            name, rate = f"zoo_{rule}_{network}", rates[network]
            which = f"experiment={rule}_mnist10", f"network.hidden={NETWORKS[network]}", f"learner.learning_rate={rate}"
            yield Stage(name, 12, which, slow=network != "narrow", only=ZOO)
            all_images = "data.per_class=null", "trainer.max_steps=5"
            yield Stage(f"{name}_all", 40, (*which, *all_images), slow=True, only=ZOO)
    for of in PUBLISHED:
        found = rates_of.get(of.rule, {}).get(of.network)
        own = () if found is None else (f"learner.learning_rate={found}",)
        overrides = f"experiment={of.rule}_mnist10", *of.overrides, *own
        yield Stage(f"zoo_{of.rule}_{of.network.replace(' ', '')}", 300, overrides, slow=True, only=ZOO)


def filters() -> Iterator[Stage]:
    """Filters that evolve, their floors and ceilings, and what is lost with one thing taken away."""
    twenty = "network.filters=20"
    half = twenty, "learner.genes=64000", "trainer.max_steps=2000"
    longer = *half[:2], "learner.epsilon=0.2", "trainer.max_steps=3000"
    forty = "network.filters=40", "learner.genes=128000", "trainer.max_steps=2000"
    more = twenty, "learner.filter_genes=400", "learner.genes=128000", "learner.epsilon=0.2", "trainer.max_steps=3000"
    five = "data.classes=[0,1,2,3,4]", "data.per_class=400"
    both = "experiment=adam_filters_mnist10", "network.frozen=true,false"
    everything = "data.per_class=null", "trainer.max_steps=20"
    deep = "network.filters=[10,32]", "network.field=[7,5]", "network.places=[10,4]"

    def stage(name: str, seconds: float, *overrides: str, seeds: str | None = None, slow: bool = False) -> Stage:
        return Stage(f"filters_{name}", seconds, overrides, slow=slow, seeds=seeds, only=("filters",))

    yield stage("10", 60, "experiment=nne_filters_mnist10")
    yield stage("10_adam", 20, *both)
    yield stage("5", 40, "experiment=nne_filters_mnist5")
    yield stage("5_adam", 20, *both, *five)
    yield stage("20", 100, "experiment=nne_filters_mnist10", *half, slow=True)
    yield stage("20_longer", 150, "experiment=nne_filters_mnist10", *longer, slow=True)
    yield stage("20_more", 300, "experiment=nne_filters_mnist10", *more, slow=True)
    yield stage("20_adam", 25, *both, twenty, slow=True)
    yield stage("40", 250, "experiment=nne_filters_mnist10", *forty, slow=True)
    yield stage("40_adam", 30, *both, forty[0], slow=True)
    yield stage("all", 500, "experiment=nne_filters_mnist10_all", slow=True)
    yield stage("all_adam", 150, *both, twenty, *everything, slow=True)
    yield stage("deep", 300, "experiment=nne_deep_filters_mnist10", slow=True)
    yield stage("deep_adam", 40, *both, *deep, slow=True)
    yield stage("deep_all", 900, "experiment=nne_deep_filters_mnist10_all", seeds="0,1")
    yield stage("deep_all_adam", 250, *both, *deep, *everything, seeds="0,1")
    yield stage("readout", 150, "experiment=nne_readout_mnist10", slow=True)
    yield stage("apart", 100, "experiment=nne_apart_mnist10", slow=True)
    yield stage("apart_adam", 35, *both, "network.filters=null", slow=True)
    yield stage("fields", 600, "experiment=nne_fields_mnist10", seeds="0")
    yield stage("fields_adam", 15, *both, "network.shared=false", seeds="0")
    for name, *overrides in VARIED:
        yield stage(name, 60, "experiment=nne_filters_mnist10", *overrides, slow=True)


VARIED = [
    ("class", "learner.credit=class"),
    ("total", "learner.credit=total"),
    ("rough", "learner.smooth=0"),
    ("still", "data.jitter=0"),
    ("uncentred", "learner.centre_logits=false"),
    ("anywhere", "learner.p0=0.5"),
    ("expression", "learner.expression=relu,tanh"),
    ("freeze", "learner.freeze=0.002"),
    ("cap", "network.cap=256"),
    ("groups", "learner.groups=4"),
    ("one", "learner.batch=1", "learner.centre_logits=false", "learner.epsilon=0.1", "trainer.max_steps=4500"),
]
ALWAYS = ("smoke", "laptop", "pages", "paper")
PAGES, PAPER, ZOO = ("pages", "paper"), ("paper",), ("zoo",)
RULED = ",".join(f"{rule}_mnist10" for rule in tuned())
STAGES: list[Stage | Analysis] = [
    evolving("nne_mnist10", 60, "experiment=nne_mnist10"),
    evolving("nne_mnist5", 35, "experiment=nne_mnist5"),
    Stage("grown10", 8, ("experiment=nne_signsgd_mnist10",), evolved="nne_mnist10"),
    Stage("grown5", 6, ("experiment=nne_signsgd_mnist5",), evolved="nne_mnist5"),
    Stage("sgd_mnist10", 30, ("experiment=sgd_mnist10",)),
    Stage("sgd_mnist5", 16, ("experiment=sgd_mnist5",)),
    features("adam_h1000", 6, "adam_features_h1000"),
    features("signsgd_h1000", 20, "signsgd_features_h1000"),
    features("dnn_h1000", 20, "dnn_h1000"),
    features("dnn_reward_h1000", 25, "dnn_reward_h1000"),
    evolving("genes10", 25, "experiment=nne_mnist10", SWEPT, slow=True),
    evolving("genes5", 16, "experiment=nne_mnist5", SWEPT, slow=True),
    features("dnn_h100k", 70, "dnn_h100k", slow=True),
    features("dnn_reward_h100k", 75, "dnn_reward_h100k", slow=True),
    features("dnn_infinite", 25, "dnn_infinite", slow=True),
    features("adam_h100k", 330, "adam_features_h100k", slow=True),
    features("signsgd_h100k", 490, "signsgd_features_h100k", slow=True),
    features("kcap", 90, "dnn_kcap", "features.cap=64,256,1024,4096", seeds="0"),
    features("readings", 20, "dnn_h1000", RULES, slow=True),
    *(evolving(name, 90, "experiment=nne_mnist10", override, seeds="0") for name, override in VARIANTS.items()),
    Stage("linear", 45, ("experiment=nne_linear",), ("trainer.max_steps=20", "learner.genes=20000"), seeds="0"),
    Analysis("theorem1", 60),
    Analysis("theorem2", 60),
    features("adam_batch", 20, "adam_features_h1000", "learner.batch=50", slow=True, only=PAGES),
    features("signsgd_rate", 20, "signsgd_features_h1000", "learner.learning_rate=0.0001", slow=True, only=PAGES),
    Stage("sgd_rate", 30, ("experiment=sgd_mnist10", "learner.learning_rate=0.1"), slow=True, only=PAGES),
    features("more_readings", 20, "dnn_h1000", MORE_RULES, slow=True, only=PAGES),
    *(features(name, 20, "dnn_h1000", override, slow=True, only=PAGES) for name, override in READINGS.items()),
    *(evolving(name, 200, "experiment=nne_mnist10", override, only=PAGES) for name, override in MORE_VARIANTS.items()),
    Stage("zoo", 10, (f"experiment={RULED}",), (*TINY, "trainer.max_steps=2", "network.hidden=[40,30]"), slow=True),
    evolving("all", 350, "experiment=nne_mnist10_all", seeds="0", only=PAGES),
    features("adam_kcap", 100, "adam_features_h100k", "features.cap=64,256,1024,4096", seeds="0", only=PAGES),
    features("readings_h100k", 70, "dnn_h100k", RULES, seeds="0", only=PAGES),
    features("more_readings_h100k", 70, "dnn_h100k", MORE_RULES, seeds="0", only=PAGES),
    evolving("cap", 1000, "experiment=nne_mnist10", "network.cap=256", only=PAPER),
    evolving("printed10", 71_000, "experiment=nne_mnist10_paper", "trainer.max_steps=100000", only=PAPER),
    evolving("printed5", 36_000, "experiment=nne_mnist5_paper", "trainer.max_steps=100000", only=PAPER),
    *filters(),
    *zoo(),
    evolving("zoo_nne", 60, "experiment=nne_mnist10", slow=True, only=ZOO),
    evolving("zoo_nne_narrow", 60, "experiment=nne_mnist10", "network.hidden=32", slow=True, only=ZOO),
    Stage("zoo_features", 60, ("experiment=kh_mnist10", "features.width=32,1000"), slow=True, only=ZOO),
    Stage("zoo_assemblies", 60, ("experiment=assemblies_mnist10",), slow=True, only=ZOO),
    features("zoo_dopamine", 20, "dnn_h1000,dnn_reward_h1000", "features.width=32,1000", only=ZOO),
    Stage("zoo_rstdp", 60, ("experiment=rstdp_mnist10",), slow=True, only=ZOO),
    Stage("zoo_spiking", 300, ("experiment=spiking_mnist10",), seeds="0", only=ZOO),
]
