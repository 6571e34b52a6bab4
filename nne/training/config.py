"""The typed configuration: every key, its default, its meaning and its bounds. Imports nothing heavy.

Hydra composes ``configs/`` against these dataclasses; ``typed`` turns the result into them, once, and below
``scripts/`` nobody sees anything else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING as MISSING_DEFAULT
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, get_args

from omegaconf import MISSING, DictConfig, OmegaConf

from nne.training.errors import UserError, at_least, one_of, require, within
from nne.training.parts import DataConfig, FeaturesConfig, NetworkConfig, key

BACKENDS = ["auto", "torch", "cpp", "cuda"]
OPTIMISERS = ["sgd", "adam", "signsgd"]
DECAYS = ["none", "linear"]
LOGGERS = {"tensorboard": ["tensorboard"], "wandb": ["wandb"], "mlflow": ["mlflow", "sqlalchemy"]}
"""Where records can go, and the packages that each needs."""
CHOICE = {"data": "auto", "network": "sparse", "features": "random"}


@dataclass
class LearnerConfig:
    """What every learner's configuration has; a learner of one's own adds its keys."""

    precision: ClassVar[str] = "float32"
    supports_distributed: ClassVar[bool] = False
    """Whether several workers can share the work."""

    name: str = key("", "which learner this is")

    def check(self, config: "Config") -> None:
        """What must hold between this learner and the rest of the configuration; raises ``UserError``."""


@dataclass
class GradientConfig(LearnerConfig):
    """The baselines: SGD or Adam on the whole network, and gradients of the output layer alone (Sec. 3)."""

    name: str = key("gradient", "which learner this is")
    optimiser: str = key("sgd", f"one of {', '.join(OPTIMISERS)} (Eq. (5))")
    learning_rate: float = key(0.1, "epsilon', the size of an update")
    decay: str = key("none", "none, or linear: the learning rate falls to zero at trainer.max_steps")
    batch: int | None = key(50, "images an update; null: all of the training set")

    def __post_init__(self) -> None:
        one_of("learner.optimiser", self.optimiser, OPTIMISERS)
        within("learner.learning_rate", self.learning_rate, 0, float("inf"))
        one_of("learner.decay", self.decay, DECAYS)
        at_least("learner.batch", self.batch, 1)

    def check(self, config: "Config") -> None:
        """What must hold between this learner and the rest of the configuration."""
        config.trains("network", "features")
        config.decays(self.decay)
        infinite = config.features is not None and config.features.width == float("inf")
        require(not infinite, "features.width=inf has no weights to take gradients of; it is for learner=dopamine")


@dataclass
class TrainerConfig:
    """When to stop, and how often to evaluate and to save."""

    max_steps: int | None = key(None, "stop after so many steps (generations, epochs)")
    max_seconds: float | None = key(None, "stop after so many seconds of work")
    evaluate_every: int = key(20, "steps between two evaluations on the test set")
    checkpoint_seconds: float = key(30.0, "seconds between two checkpoints")
    keep_checkpoints: int = key(2, "how many of the latest checkpoints are kept")
    logger: list[str] = field(
        default_factory=lambda: ["tensorboard"],
        metadata={"doc": f"where curves and pictures go: any of [{', '.join(LOGGERS)}], or [] for nowhere"},
    )
    quiet: bool = key(False, "print nothing but warnings and errors; train.log has all")
    profile: bool = key(False, "show where the time of five early steps goes: TensorBoard's text tab, and profile.json")

    def __post_init__(self) -> None:
        at_least("trainer.max_steps", self.max_steps, 1)
        at_least("trainer.max_seconds", self.max_seconds, 0)
        at_least("trainer.evaluate_every", self.evaluate_every, 1)
        at_least("trainer.checkpoint_seconds", self.checkpoint_seconds, 0)
        at_least("trainer.keep_checkpoints", self.keep_checkpoints, 1)
        for name in self.logger:
            one_of("trainer.logger", name, list(LOGGERS))


@dataclass
class Config:
    """Everything that a run depends on."""

    seed: int = key(0, "the only source of randomness; same seed, same result, bit for bit")
    device: str = key("auto", "auto (a GPU if there is one), cpu or cuda")
    dtype: str = key("auto", "float32, bfloat16 or auto (evolution: bfloat16 where the hardware has it; else float32)")
    backend: str = key(
        "auto",
        "what evaluates populations: torch, cpp (on a CPU), cuda (on a GPU), or auto: the quickest that can",
    )
    run_dir: str | None = key(None, "the run's folder; default: outputs/<experiment>/<date_time>")
    resume: str | None = key(None, "a run's folder to go on with, or auto: the latest unfinished one, if any")
    data: DataConfig | None = field(default_factory=DataConfig)
    network: NetworkConfig | None = None
    features: FeaturesConfig | None = None
    learner: Any = MISSING
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        one_of("device", self.device, ["auto", "cpu", "cuda"])
        one_of("dtype", self.dtype, ["auto", "float32", "bfloat16"])
        one_of("backend", self.backend, BACKENDS)
        check = getattr(self.learner, "check", None)
        if check:
            check(self)
        learner_stops = (getattr(self.learner, name, None) for name in ("stop_at_fixed", "stop_at_cosine"))
        stops = self.trainer.max_steps, self.trainer.max_seconds, *learner_stops
        changes = self.data is not None and self.data.jitter and self.network is None
        require(not changes, "data.jitter changes what a network sees at each use: choose a network, or data.jitter=0")
        require(any(s is not None for s in stops), "the run would never end: set trainer.max_steps=N")

    @property
    def precision(self) -> str:
        """``dtype``, unless it is left to the learner."""
        return self.learner.precision if self.dtype == "auto" else self.dtype

    @property
    def features_seed(self) -> int:
        """The seed of the fixed random hidden layer."""
        seed = self.features.seed if self.features else None
        return self.seed if seed is None else seed

    @property
    def images(self) -> DataConfig:
        """Which images are learnt; raises where there are none."""
        if self.data is None:
            raise UserError(f"learner={self.learner.name} learns images; choose data={CHOICE['data']}")
        return self.data

    def trains(self, *parts: str) -> None:
        """Raise unless exactly one of ``parts`` is configured, and nothing that this learner would not use.

        Without ``parts``, the learner has a network and a task of its own.
        """
        name = self.learner.name
        used = ("network", "features") if parts else ("data", "network", "features")
        given = [part for part in used if getattr(self, part) is not None]
        present = " and ".join(given) or "neither"
        if not parts:
            require(not given, f"learner={name} has its own task and network; choose {', '.join(_without(given))}")
            return
        assert self.images
        right = f"needs {' or '.join(parts)} alone; choose {' or '.join(f'{p}={CHOICE[p]}' for p in parts)}"
        others = ", ".join(_without(p for p in used if p not in parts or len(parts) > 1))
        require(len(given) == 1 and given[0] in parts, f"learner={name} {right} (and {others}), got {present}")

    def decays(self, decay: str) -> None:
        """Raise if a rate should fall until an end that is not given."""
        bounded = decay == "none" or self.trainer.max_steps is not None
        require(bounded, "learner.decay=linear ends at trainer.max_steps: set trainer.max_steps=N")


def _without(parts: Iterable[str]) -> list[str]:
    return [f"{part}=none" for part in parts]


GROUPS: dict[str, Any] = {
    "data": DataConfig,
    "network": NetworkConfig,
    "features": FeaturesConfig,
    "trainer": TrainerConfig,
}
"""The schema of every group of keys but the learner's."""


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
    """The configuration as plain containers that JSON has, for records; an infinite width is the text ``inf``."""
    plain = asdict(config)
    if plain["features"] and plain["features"]["width"] == float("inf"):
        plain["features"]["width"] = "inf"
    return plain


def hyperparameters(config: Config, dataset: str, varying: Iterable[str] = ()) -> dict[str, str | float]:
    """What tells runs apart in a table of them: what varies in a sweep first, then the same keys for every run."""
    plain = to_dict(config)
    parts = ("network", "features", "learner")
    values = {f"{part}.{name}": value for part in parts for name, value in (plain[part] or {}).items()}
    values |= {"seed": config.seed, "data": dataset, "data.classes": len(config.data.classes) if config.data else 0}
    everything = flat(plain) | values
    values = {name: everything[name] for name in varying if name in everything} | values
    return {name: value if isinstance(value, int | float) else str(value) for name, value in values.items()}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"learner.genes": 5000, ...}``."""
    values: dict[str, Any] = {}
    for name, value in config.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return values


def from_dict(stored: Mapping[str, Any], learners: Mapping[str, Any]) -> Config:
    """The inverse of ``to_dict``, given the schema of each learner by name.

    Raises:
        UserError: the record was made by a version with other keys.
    """
    try:
        schemas = {**GROUPS, "learner": learners[stored["learner"]["name"]]}
        parts = {name: schema(**stored[name]) for name, schema in schemas.items() if stored.get(name) is not None}
        return Config(**{**stored, **parts})
    except (KeyError, TypeError) as error:
        raise UserError(f"the configuration was recorded by another version of this project ({error})") from error


def documented_keys(schema: type, prefix: str = "") -> dict[str, tuple[Any, str]]:
    """Every leaf key under a configuration dataclass: ``{"data.root": (default, doc)}``."""
    keys: dict[str, tuple[Any, str]] = {}
    for entry in fields(schema):
        part = next((t for t in (entry.type, *get_args(entry.type)) if isinstance(t, type) and is_dataclass(t)), None)
        if part:
            keys |= documented_keys(part, f"{prefix}{entry.name}.")
        elif "doc" in entry.metadata:
            default = entry.default if entry.default_factory is MISSING_DEFAULT else entry.default_factory()
            keys[prefix + entry.name] = (default, entry.metadata["doc"])
    return keys
