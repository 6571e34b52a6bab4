"""Every experiment composes; every mistake is one clear line before any work."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nne.registry import CONFIGS, LEARNERS
from nne.training.arguments import normalise_overrides
from nne.training.cli import check, known_keys, register
from nne.training.config import Config, from_dict, to_dict
from nne.training.errors import UserError
from nne.training.manual import manual_page
from nne.training.parts import FeaturesConfig
from tests.conftest import REPOSITORY, SMALL, Command

EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def _schemas() -> None:
    register(LEARNERS)


def the_config(*overrides: str) -> Config:
    (job,) = check(list(overrides), False, CONFIGS, LEARNERS)
    return job.config


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_begins_with_its_command(experiment: str) -> None:
    (job,) = check([f"experiment={experiment}"], False, CONFIGS, LEARNERS)
    assert job.experiment == experiment
    lines = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    assert lines[:2] == ["# @package _global_", f"# python scripts/train.py experiment={experiment}"]
    assert from_dict(to_dict(job.config), LEARNERS) == job.config


@pytest.mark.parametrize(("experiment", "classes"), [("nne_mnist10_paper", 10), ("nne_mnist5_paper", 5)])
def test_the_paper_experiments_hold_the_papers_numbers(experiment: str, classes: int) -> None:
    config = the_config(f"experiment={experiment}")
    assert config.data.classes == list(range(classes))
    assert config.data.per_class == 200
    assert (config.network.hidden, config.network.edge_probability, config.network.beta) == (1000, 0.1, 0.0025)
    learner = config.learner
    assert (learner.population, learner.batch, learner.temperature, learner.fitness) == (1000, None, 1, "none")


def test_the_command_line_wins_over_the_experiment() -> None:
    config = the_config("experiment=nne_mnist10", "learner.genes=123", "seed=9", "data=embedded", "data.classes=[1,2]")
    assert (config.learner.genes, config.seed, config.data.source, config.data.classes) == (123, 9, "embedded", [1, 2])


def test_a_sweep_is_every_combination() -> None:
    jobs = check(["learner.genes=500,1000", "seed=range(3)"], True, CONFIGS, LEARNERS)
    assert [(job.config.learner.genes, job.config.seed) for job in jobs] == [
        (genes, seed) for genes in (500, 1000) for seed in range(3)
    ]


MISTAKES = [
    ("experiment=nne_mnist1", "there is no experiment=nne_mnist1; did you mean nne_mnist10?"),
    ("data=mnits", "there is no data=mnits; did you mean mnist?"),
    ("trainer=fast", "there is no trainer=fast"),
    ("learner.gens=3", "there is no key learner.gens; did you mean learner.genes?"),
    ("+typo=3", "there is no key typo"),
    ("+learner.typo=3", "there is no key learner.typo"),
    ("gene=3", "there is no key gene; did you mean learner.genes?"),
    ("~seed", "seed cannot be deleted"),
    ("learner.genes=abc", "learner.genes must be a whole number, got abc"),
    ("learner.genes=1e3", "learner.genes must be a whole number, got 1000.0"),
    ("learner.epsilon=much", "learner.epsilon must be a number, got much"),
    ("trainer.quiet=maybe", "trainer.quiet must be true or false, got maybe"),
    ("trainer.logger=wandb", "trainer.logger must be a list, as in [one,two]"),
    ("learner=dopamine", "experiment=nne_mnist10 sets learner.genes, which learner=dopamine does not have"),
    ("learner.genes=null", "learner.genes must have a value, got null"),
    ("learner.smooth=3", "learner.smooth=3.0 means nothing without network.filters"),
    ("network.places=[5,3]", "network.places=[5, 3] means nothing without network.filters"),
    ("learner.genes=[1", "learner.genes=[1 cannot be read; write key=value"),
    ("learner.genes=0", "learner.genes must be at least 1, got 0"),
    ("learner.population=1", "learner.population must be at least 2, got 1"),
    ("learner.batch=0", "learner.batch must be at least 1, got 0"),
    ("learner.batch=2001", "learner.batch must be at most 2000 (data.per_class x classes), got 2001"),
    ("learner.epsilon=0", "learner.epsilon must be greater than 0"),
    ("learner.epsilon=nan", "learner.epsilon must be greater than 0"),
    ("learner.temperature=-1", "learner.temperature must be greater than 0"),
    (
        "learner.fitness=best",
        "learner.fitness must be one of none, standardise, rank, or package.module.name of your own, got best",
    ),
    ("learner.weak_until=1", "learner.weak_until must be from 0 to below 1"),
    ("learner.stop_at_fixed=2", "learner.stop_at_fixed must be greater than 0 and at most 1, got 2"),
    ("network.beta=1.5", "network.beta must be greater than 0 and at most 1, got 1.5"),
    ("network.edge_probability=0", "network.edge_probability must be greater than 0"),
    ("network.hidden=0", "network.hidden must be at least 1, got 0"),
    ("data.classes=[11]", "data.classes must be two or more different digits from 0 to 9, got [11]"),
    ("data.classes=[1,1]", "data.classes must be two or more different digits"),
    ("data.per_class=0", "data.per_class must be at least 1, got 0"),
    ("trainer.max_steps=0", "trainer.max_steps must be at least 1, got 0"),
    ("trainer.max_steps=null", "learner.epsilon_final is reached at trainer.max_steps"),
    ("trainer.evaluate_every=0", "trainer.evaluate_every must be at least 1"),
    ("seed=-1", "seed must be at least 0, got -1"),
    ("device=tpu", "device must be one of auto, cpu, cuda, got tpu"),
    ("dtype=int8", "dtype must be one of auto, float32, bfloat16, got int8"),
]


def test_keys_of_a_random_graph_are_refused_beside_a_module_or_filters() -> None:
    for experiment, override in (
        ("nne_cnn", "network.hidden=30"),
        ("nne_cnn", "network.filters=10"),
        ("nne_filters_mnist10", "network.edge_probability=0.5"),
    ):
        with pytest.raises(UserError, match=f"^{override} means nothing with network.*: set it to"):
            the_config(f"experiment={experiment}", override)


@pytest.mark.parametrize(("override", "expected"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_one_line_that_names_it(override: str, expected: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(expected)}") as caught:
        the_config("experiment=nne_mnist10", override)
    assert "\n" not in str(caught.value)


MISTAKES_ELSEWHERE = [
    (
        "nne_mnist10",
        "features.width=100",
        "features.width=100: this experiment has no features; choose one, as in features=random",
    ),
    (
        "dnn_h1000",
        "network.hidden=5",
        "network.hidden=5: this experiment has no network; choose one, as in network=sparse",
    ),
    (
        "nne_mnist10",
        "features=random",
        "learner=evolution needs network alone; choose network=sparse (and features=",
    ),
    ("dnn_h1000", "network=sparse", "learner=dopamine needs features alone; choose features=random (and network=none)"),
    ("dnn_h1000", "features.cap=2000", "features.cap must be at most features.width=1000 (and that finite), got 2000"),
    ("dnn_h1000", "features.cap=0", "features.cap must be at least 1, got 0"),
    ("dnn_h1000", "features.width=0", "features.width must be a whole number of at least 1, or inf, got 0"),
    ("dnn_h1000", "features.width=10.5", "features.width must be a whole number of at least 1, or inf, got 10.5"),
    ("dnn_h1000", "features.width=nan", "features.width must be a whole number of at least 1, or inf, got nan"),
    ("dnn_h1000", "learner.genes=5", "learner.genes: Key 'genes' not in 'DopamineConfig'"),
    ("dnn_h1000", "learner.rule=intro", "learner.rule must be one of literal, text, introduction"),
    ("dnn_h1000", "learner.epsilon_1=0", "learner.epsilon_1 must be greater than 0"),
    ("dnn_h1000", "learner.batch=0", "learner.batch must be at least 1, got 0"),
    ("dnn_h1000", "learner.path=cpu", "learner.path must be one of dual, primal, got cpu"),
    ("dnn_reward_h1000", "trainer.max_steps=null", "learner.average begins halfway to trainer.max_steps: set"),
    ("dnn_infinite", "features.cap=3", "features.cap must be at most features.width=inf (and that finite), got 3"),
    ("dnn_infinite", "learner.path=primal", "features.width=inf has no weights to keep: learner.path must be dual"),
    ("adam_features_h1000", "features.width=inf", "features.width=inf has no weights to take gradients of"),
    ("sgd_mnist10", "learner.optimiser=adm", "learner.optimiser must be one of sgd, adam, signsgd, got adm"),
    ("sgd_mnist10", "learner.learning_rate=0", "learner.learning_rate must be greater than 0"),
    ("sgd_mnist10", "learner.decay=slow", "learner.decay must be one of none, linear, got slow"),
    ("nne_signsgd_mnist10", "trainer.max_steps=null", "learner.decay=linear ends at trainer.max_steps: set"),
    ("nne_signsgd_mnist10", "learner.individuals=1", "learner.individuals must be at least 2, got 1"),
]


@pytest.mark.parametrize(("experiment", "override", "expected"), MISTAKES_ELSEWHERE)
def test_a_mistake_in_another_learner_is_one_line_too(experiment: str, override: str, expected: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(expected)}") as caught:
        the_config(f"experiment={experiment}", override)
    assert "\n" not in str(caught.value)


def test_a_width_may_be_written_as_a_power_or_be_infinite() -> None:
    assert the_config("experiment=dnn_h1000", "features.width=1e5").features == FeaturesConfig(100_000, None, True)
    infinite = the_config("experiment=dnn_infinite")
    assert to_dict(infinite)["features"]["width"] == "inf"  # JSON has no infinity
    assert from_dict(to_dict(infinite), LEARNERS) == infinite


def test_a_record_from_before_there_were_features_is_read() -> None:
    config = the_config("experiment=nne_mnist10")
    older = {name: value for name, value in to_dict(config).items() if name != "features"}
    assert from_dict(older, LEARNERS) == config


def test_paths_of_a_sweeps_jobs_need_no_quotes() -> None:
    job = "outputs/multirun/nne_mnist10/2026/seed=0,learner.genes=5"
    assert normalise_overrides([f"resume={job}", "seed=1", f"learner.evolved='{job}'", "run_dir=mine"], CONFIGS) == [
        *(f"resume='{job}'", "seed=1", f"learner.evolved='{job}'", "run_dir=mine")
    ]
    assert normalise_overrides(["-m", "seed=0", "sweep.resume=True"], CONFIGS) == ["-m", "seed=0", "resume=auto"]
    assert normalise_overrides(["sweep.resume=false"], CONFIGS) == []
    assert the_config("experiment=nne_mnist10", *normalise_overrides([f"resume={job}"], CONFIGS)).resume == job
    assert (
        the_config(
            "experiment=nne_mnist10", *normalise_overrides(["seed=3", "run_dir=a/seed=${seed}"], CONFIGS)
        ).run_dir
        == "a/seed=3"
    )


def test_a_mistake_in_any_job_of_a_sweep_is_found_before_work() -> None:
    with pytest.raises(UserError, match=r"learner\.genes must be at least 1, got 0"):
        check(["learner.genes=500,0"], True, CONFIGS, LEARNERS)


def test_an_experiment_file_with_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    import shutil

    configs = shutil.copytree(CONFIGS, tmp_path / "configs")
    (configs / "experiment" / "mine.yaml").write_text("# @package _global_\nlearner:\n  epsilom: 3\n")
    with pytest.raises(UserError, match="epsilom"):
        check(["experiment=mine"], False, configs, LEARNERS)


def test_a_run_without_an_end_is_refused() -> None:
    endless = "learner.epsilon_final=null", "learner.stop_at_fixed=null", "trainer.max_steps=null"
    with pytest.raises(UserError, match=r"the run would never end: set trainer\.max_steps=N"):
        the_config("experiment=nne_mnist10", *endless)


def test_the_manual_page_names_every_key_and_experiment() -> None:
    page = manual_page(CONFIGS, LEARNERS)
    assert all(f"    {name}=" in page for name in known_keys(LEARNERS) if name != "learner.name")
    own = [
        schema for schema in LEARNERS.values() if "batch" in schema.__dataclass_fields__
    ]  # other tests may add theirs
    assert page.count("    learner.batch=") == len(own) > 5  # each learner has its own
    assert all(name in page for name in EXPERIMENTS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["learner.gens=3"], "there is no key learner.gens"),
        (["device=cuda"], "device=cuda, but PyTorch finds no CUDA GPU here"),
        (["data=mnist", "data.download=false"], "mnist is not in /nonexistent, and"),
        (["resume=nowhere"], "resume=nowhere: there is no such folder"),
        ([*SMALL, "run_dir=/dev/null/run"], "/dev/null/run cannot be written to"),
    ],
)
def test_the_command_itself_reports_in_one_line_and_writes_nothing(
    train: Command, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    import torch

    if "device=cuda" in arguments and torch.cuda.is_available():
        arguments, expected = ["device=tpu"], "device must be one of"
    done = train("experiment=nne_mnist10", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {expected}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_is_the_manual_page(train: Command) -> None:
    done = train("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("NAME\n    python scripts/train.py")


def test_help_may_be_cut_short() -> None:
    line = [sys.executable, "scripts/train.py", "--help"]
    process = subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.close()  # before there is anything to read
    assert process.stderr
    assert process.stderr.read() == ""
    assert process.wait() == 0


def test_the_readme_names_every_experiment_and_no_other() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in EXPERIMENTS if name != "none")
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"experiment=(\w+)", page.read_text())}
    assert named <= {*EXPERIMENTS, "bars", "none"}  # bars: the reader's own, in docs/own.md


MISREAD = [
    (["--experiment", "nne_mnist10"], "--experiment: keys have no dashes; write experiment=..."),
    (["-seed=3"], "-seed=3: keys have no dashes; write seed=..."),
    (["experiment", "=", "x"], "a key, = and its value are written without spaces: key=value"),
    (["learner=genes=50"], "learner=genes=50 cannot be read; write key=value, values with spaces or = in quotes"),
    (["seed=0,1"], "seed=0,1 gives several values; add -m to run a sweep over them"),
    (["data=MNIST"], "there is no data=MNIST; did you mean mnist?"),
    (["learner.name=foo"], "learner.name cannot be set; use learner=NAME"),
    (["hydra.run.dir=foo"], "hydra.run.dir cannot be set; use run_dir=PATH"),
    (["-m", "seed=0,1", "run_dir=mine"], "run_dir is of one run; a sweep's folder is hydra.sweep.dir=PATH"),
    (["experiment=nne_mnist10", "data=embedded", f"run_dir={'x' * 300}"], "cannot be written to (File name too long)"),
]


@pytest.mark.parametrize(("arguments", "said"), MISREAD)
def test_what_is_easily_mistyped_is_told_what_to_type(
    arguments: list[str], said: str, train: Command, tmp_path: Path
) -> None:
    done = train(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["räum", "a b", "x=1,y=2", "it's", "実験"])
def test_a_folder_may_have_any_name(name: str) -> None:
    for key in ("run_dir", "resume"):
        config = the_config("experiment=nne_mnist10", *normalise_overrides([f"{key}={name}"], CONFIGS))
        assert getattr(config, key) == name


def test_no_slurm_is_one_line(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    done = train("-m", "experiment=nne_mnist10", "seed=0,1", "hydra/launcher=slurm")
    extra = importlib.util.find_spec("submitit") is not None
    said = "hydra/launcher=slurm: there is no Slurm here (no srun)" if extra else "this hydra/launcher is not installed"
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


def test_a_linear_target_may_end_by_its_cosine() -> None:
    config = the_config("experiment=nne_linear", "learner.stop_at_cosine=0.5", "trainer.max_steps=null")
    assert config.trainer.max_steps is None


def test_a_key_of_an_absent_part_is_named_first_whatever_else_is_wrong() -> None:
    expected = "features.width=1000: this experiment has no features; choose one, as in features=random"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}"):
        the_config("experiment=nne_mnist10", "features.width=1000", "learner.learning_rate=0.01")
