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
from nne.training.plugin import is_path, one_of_or_path

OWN_SOURCES = ["arrays", "folder", "idx"]
TORCHVISION_SOURCES = ["emnist", "qmnist", "usps", "cifar10"]
SOURCES = ["auto", "mnist", "embedded", "fashion_mnist", "kmnist", *TORCHVISION_SOURCES, *OWN_SOURCES]
DIGITS = list(range(10))
BACKENDS = ["auto", "torch", "cpp", "triton"]
OPTIMISERS = ["sgd", "adam", "signsgd"]
DECAYS = ["none", "linear"]
CHOICE = {"data": "auto", "network": "sparse", "features": "random"}


def key(default: Any, doc: str) -> Any:
    """A configuration key: its default and, for ``--help``, its meaning."""
    return field(default=default, metadata={"doc": doc})


@dataclass
class DataConfig:
    """Which images are learnt, and which they are tested on (Sec. 3.1)."""

    source: str = key(
        "auto",
        f"one of {', '.join(SOURCES)}, torchvision.datasets.NAME, or your own function; "
        "auto: MNIST if it can be had, else the embedded set",
    )
    root: str | None = key(None, "folder of the data sets; default: $NNE_DATA, then a folder in the user's cache")
    path: str | None = key(
        None,
        "your own data: an .npz file (data=arrays), a folder of a folder a class (data=folder), or one of IDX files "
        "(data=idx)",
    )
    test_share: float = key(0.2, "share of your own data that is held out for the test, where it has none of its own")
    classes: list[int] = field(
        default_factory=lambda: list(DIGITS),
        metadata={"doc": "the classes to tell apart, of ten; of your own data and of emnist, always all"},
    )
    per_class: int | None = key(200, "training images a class, drawn with the seed; null: all there are")
    download: bool = key(True, "whether a data set that is not there may be downloaded")

    def __post_init__(self) -> None:
        if not self.by_torchvision:
            one_of_or_path("data.source", self.source, SOURCES)
        right = bool(self.path) == (self.source in OWN_SOURCES)
        require(right, f"data.path must be given for data={', '.join(OWN_SOURCES)} alone, got {self.path}")
        require(0 < self.test_share < 1, f"data.test_share must be between 0 and 1, got {self.test_share}")
        right = all(0 <= c <= 9 for c in self.classes) and len(set(self.classes)) == len(self.classes) >= 2
        require(right, f"data.classes must be two or more different digits from 0 to 9, got {self.classes}")
        at_least("data.per_class", self.per_class, 1)

    @property
    def own(self) -> bool:
        """Whether the data are the user's."""
        return self.source in OWN_SOURCES or (is_path(self.source) and not self.by_torchvision)

    @property
    def by_torchvision(self) -> bool:
        """Whether torchvision reads them: by a name of ours, or as ``torchvision.datasets.<Class>``."""
        return self.source in TORCHVISION_SOURCES or self.source.startswith("torchvision.datasets.")


@dataclass
class NetworkConfig:
    """The network: sparse random hidden layers with ReLU, and a full softmax output layer (Sec. 3.1)."""

    hidden: Any = key(1000, "hidden units, |h^1|; of several layers: [1000,500]")
    edge_probability: Any = key(0.1, "probability of each edge into a hidden layer; layer by layer: [0.1,0.2]")
    beta: float = key(0.0025, "probability that a gene touches a link: density of the weight generation matrix W")
    module: str | None = key(None, "instead of all that: a torch.nn.Module, as in nne.training.models.cnn.SmallCNN")
    cap: int | None = key(None, "k: only the k most active units of each hidden layer fire (Sec. 4, item 5)")

    def __post_init__(self) -> None:
        for units in self.layers:
            whole = isinstance(units, int) and not isinstance(units, bool)
            require(whole, f"network.hidden must be a whole number, or a list of them, got {self.hidden}")
            at_least("network.hidden", units, 1)
        given = self.densities
        for probability in given:
            number = isinstance(probability, int | float) and not isinstance(probability, bool)
            require(number, f"network.edge_probability must be a number, or a list of them, got {probability}")
            within("network.edge_probability", probability, 0, 1)
        fits = len(given) == len(self.layers) > 0
        require(fits, f"network.edge_probability must be one number, or one for each of network.hidden={self.hidden}")
        within("network.beta", self.beta, 0, 1)
        at_least("network.cap", self.cap, 1)
        fits = self.cap is None or self.cap <= min(self.layers)
        require(fits, f"network.cap must be at most network.hidden={self.hidden}, got {self.cap}")

    @property
    def layers(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(self.hidden) if isinstance(self.hidden, list | tuple) else (self.hidden,)

    @property
    def densities(self) -> tuple[float, ...]:
        """The edge probability of each hidden layer."""
        given = self.edge_probability
        return tuple(given) if isinstance(given, list | tuple) else (given,) * len(self.layers)


@dataclass
class FeaturesConfig:
    """A fixed random hidden layer, Kaiming uniform with ReLU: only the output layer above it learns (Sec. 3.2)."""

    width: float = key(1000, "h, hidden units; inf: their limit in closed form, for the dopamine learner")
    cap: int | None = key(None, "k: only the k most active hidden units fire (Sec. 4, item 5); null: no cap")
    standardise: bool = key(False, "whether pixels are centred and scaled by the training images' mean and sd")
    seed: int | None = key(None, "seed of the hidden weights alone; null: the run's seed")

    def __post_init__(self) -> None:
        self.width = float(self.width)  # from a record, inf comes as a text
        if self.width.is_integer():
            self.width = int(self.width)
        whole = self.width == float("inf") or (isinstance(self.width, int) and self.width >= 1)
        require(whole, f"features.width must be a whole number of at least 1, or inf, got {self.width}")
        at_least("features.cap", self.cap, 1)
        fits = self.cap is None or self.cap <= self.width < float("inf")
        require(fits, f"features.cap must be at most features.width={self.width} (and that finite), got {self.cap}")
        at_least("features.seed", self.seed, 0)


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
    quiet: bool = key(False, "print nothing but warnings and errors; train.log has all")
    profile: bool = key(False, "show where the time of five early steps goes: TensorBoard's text tab, and profile.json")

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
    dtype: str = key("auto", "float32, bfloat16 or auto (evolution: bfloat16 where the hardware has it; else float32)")
    backend: str = key(
        "auto",
        "what evaluates populations: torch, cpp (compiled on first use), triton (on a GPU), or auto (cpp where it can)",
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


def hyperparameters(config: Config, dataset: str) -> dict[str, str | float]:
    """What tells runs apart in a table of them: the same keys for every run of a learner."""
    plain = to_dict(config)
    parts = ("network", "features", "learner")
    values = {f"{part}.{name}": value for part in parts for name, value in (plain[part] or {}).items()}
    values |= {"seed": config.seed, "data": dataset, "data.classes": len(config.data.classes) if config.data else 0}
    return {name: value if isinstance(value, int | float) else str(value) for name, value in values.items()}


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
