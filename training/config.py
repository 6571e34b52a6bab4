"""The typed configuration: every key, its default, its meaning and its bounds. Imports nothing heavy.

Hydra composes ``configs/`` against these dataclasses; ``typed`` turns the result into them, once, and below
``scripts/`` nobody sees anything else.
"""

from collections.abc import Mapping
from dataclasses import MISSING as MISSING_DEFAULT
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from training.errors import UserError, at_least, one_of, require, within

SOURCES = ["auto", "mnist", "embedded", "fashion_mnist", "kmnist"]


def key(default: Any, doc: str) -> Any:
    """A configuration key: its default and, for ``--help``, its meaning."""
    return field(default=default, metadata={"doc": doc})


@dataclass
class DataConfig:
    """Which images are learnt, and which they are tested on (Sec. 3.1)."""

    source: str = key("auto", f"one of {', '.join(SOURCES)}; auto: MNIST if it can be had, else the embedded set")
    root: str | None = key(None, "folder of the data sets; default: $NNE_DATA, then a folder in the user's cache")
    classes: list[int] = field(default_factory=lambda: list(range(10)), metadata={"doc": "the classes to tell apart"})
    per_class: int = key(200, "training images a class, drawn with the seed")
    download: bool = key(True, "whether a data set that is not there may be downloaded")

    def __post_init__(self) -> None:
        one_of("data.source", self.source, SOURCES)
        right = all(0 <= c <= 9 for c in self.classes) and len(set(self.classes)) == len(self.classes) >= 2
        require(right, f"data.classes must be two or more different digits from 0 to 9, got {self.classes}")
        at_least("data.per_class", self.per_class, 1)


@dataclass
class NetworkConfig:
    """The network: a sparse random input->hidden graph, ReLU, and a full softmax output layer (Sec. 3.1)."""

    hidden: int = key(1000, "hidden units, |h^1|")
    edge_probability: float = key(0.1, "probability of each input->hidden edge")
    beta: float = key(0.0025, "probability that a gene touches a link: density of the weight generation matrix W")

    def __post_init__(self) -> None:
        at_least("network.hidden", self.hidden, 1)
        within("network.edge_probability", self.edge_probability, 0, 1)
        within("network.beta", self.beta, 0, 1)


@dataclass
class TrainerConfig:
    """When to stop, and how often to evaluate and to save."""

    max_steps: int | None = key(None, "stop after so many steps (generations, epochs)")
    max_seconds: float | None = key(None, "stop after so many seconds of work")
    evaluate_every: int = key(20, "steps between two evaluations on the test set")
    checkpoint_seconds: float = key(30.0, "seconds between two checkpoints")
    keep_checkpoints: int = key(2, "how many of the latest checkpoints are kept")

    def __post_init__(self) -> None:
        at_least("trainer.max_steps", self.max_steps, 1)
        at_least("trainer.max_seconds", self.max_seconds, 0)
        at_least("trainer.evaluate_every", self.evaluate_every, 1)
        at_least("trainer.checkpoint_seconds", self.checkpoint_seconds, 0)
        at_least("trainer.keep_checkpoints", self.keep_checkpoints, 1)


@dataclass
class Config:
    """Everything that a run depends on."""

    seed: int = key(0, "the only source of randomness; same seed, same result, bit for bit")
    device: str = key("auto", "auto (a GPU if there is one), cpu or cuda")
    dtype: str = key("auto", "auto (bfloat16 where the hardware has it), float32 or bfloat16")
    run_dir: str | None = key(None, "the run's folder; default: outputs/<experiment>/<date_time>")
    resume: str | None = key(None, "a run's folder to go on with, or auto: the latest unfinished one, if any")
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    learner: Any = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        one_of("device", self.device, ["auto", "cpu", "cuda"])
        one_of("dtype", self.dtype, ["auto", "float32", "bfloat16"])
        check = getattr(self.learner, "check", None)
        if check:
            check(self)
        stops = self.trainer.max_steps, self.trainer.max_seconds, getattr(self.learner, "stop_at_fixed", None)
        require(any(s is not None for s in stops), "the run would never end: set trainer.max_steps=N")


def typed(composed: DictConfig) -> Config:
    """The composed configuration as dataclasses, every bound checked.

    Raises:
        UserError: a key that no dataclass has, a value missing, or one out of its bounds.
    """
    missing = OmegaConf.missing_keys(composed)
    require(not missing, f"no value for {', '.join(sorted(missing))}")
    config = OmegaConf.to_object(composed)
    if not isinstance(config, Config):
        raise UserError("the configuration must begin with `defaults: [schema]`")
    return config


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain containers, for records."""
    return asdict(config)


def from_dict(stored: Mapping[str, Any], learners: Mapping[str, Any]) -> Config:
    """The inverse of ``to_dict``, given the schema of each learner by name.

    Raises:
        UserError: the record was made by a version with other keys.
    """
    try:
        parts = {"data": DataConfig, "network": NetworkConfig, "trainer": TrainerConfig}
        parts["learner"] = learners[stored["learner"]["name"]]
        return Config(**{**stored, **{name: schema(**stored[name]) for name, schema in parts.items()}})
    except (KeyError, TypeError) as error:
        raise UserError(f"the configuration was recorded by another version of this project ({error})") from error


def documented_keys(schema: type, prefix: str = "") -> dict[str, tuple[Any, str]]:
    """Every leaf key under a configuration dataclass: ``{"data.root": (default, doc)}``."""
    found: dict[str, tuple[Any, str]] = {}
    for entry in fields(schema):
        if isinstance(entry.type, type) and is_dataclass(entry.type):
            found |= documented_keys(entry.type, f"{prefix}{entry.name}.")
        elif "doc" in entry.metadata:
            default = entry.default if entry.default_factory is MISSING_DEFAULT else entry.default_factory()
            found[prefix + entry.name] = (default, entry.metadata["doc"])
    return found
