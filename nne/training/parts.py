"""The parts of a configuration: images, a network of links, or random features. Imports nothing heavy."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, NamedTuple

from nne.training.errors import at_least, one_of, require, within
from nne.training.plugin import is_path, one_of_or_path

OWN_SOURCES = ["arrays", "folder", "idx"]
TORCHVISION_SOURCES = ["emnist", "qmnist", "usps", "cifar10"]
SOURCES = ["auto", "mnist", "embedded", "fashion_mnist", "kmnist", *TORCHVISION_SOURCES, *OWN_SOURCES]
DIGITS = list(range(10))
HIDDEN = 1000  # units, if nothing else is said
FILTER_KEYS = ("field", "places", "shared")
WITHOUT_FILTERS = "without network.filters, as in experiment=nne_filters_mnist10"
FEATURE_RULES = ["random", "competing", "assemblies"]


def listed(given: Any) -> list[Any]:
    """What is given for each layer."""
    return list(given) if isinstance(given, list | tuple) else [given]


def whole_numbers(name: str, given: Any) -> list[int]:
    """What is given for each layer, once it is known to be whole numbers of at least 1.

    Raises:
        UserError: it is not.
    """
    for number in listed(given):
        whole = isinstance(number, int) and not isinstance(number, bool)
        require(whole, f"{name} must be a whole number, or a list of them, got {'null' if given is None else given}")
        at_least(name, number, 1)
    return listed(given)


def unused(part: str, config: object, names: Iterable[str], here: str) -> None:
    """Require that keys of ``part`` that nothing reads ``here`` are left at their defaults.

    Raises:
        UserError: one is not.
    """
    for each in fields(config):  # type: ignore[arg-type]
        given, default = getattr(config, each.name), "null" if each.default is None else each.default
        alone = each.name not in names or given == each.default
        shown = tuple(str(value).lower() if isinstance(value, bool) else value for value in (given, default))
        require(alone, f"{part}.{each.name}={shown[0]} means nothing {here}: set it to {shown[1]}")


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
    jitter: float = key(
        0.0, "how far training images are rotated, scaled, sheared and shifted, anew at each use; 0: not"
    )
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
        at_least("data.jitter", self.jitter, 0)

    @property
    def own(self) -> bool:
        """Whether the data are the user's."""
        return self.source in OWN_SOURCES or (is_path(self.source) and not self.by_torchvision)

    @property
    def chosen(self) -> bool:
        """Whether ``classes`` says which there are: not of your own data and of emnist."""
        return not self.own and self.source != "emnist"

    @property
    def by_torchvision(self) -> bool:
        """Whether torchvision reads them: by a name of ours, or as ``torchvision.datasets.<Class>``."""
        return self.source in TORCHVISION_SOURCES or self.source.startswith("torchvision.datasets.")


class Grid(NamedTuple):
    """A hidden layer of filters, each at ``places x places`` places."""

    filters: int
    field: int
    places: int

    @property
    def units(self) -> int:
        """Hidden units."""
        return self.filters * self.places**2


@dataclass
class NetworkConfig:
    """The network: sparse random hidden layers with ReLU, and a full softmax output layer (Sec. 3.1)."""

    hidden: Any = key(HIDDEN, "hidden units, |h^1|; of several layers: [1000,500]")
    edge_probability: Any = key(0.1, "probability of each edge into a hidden layer; layer by layer: [0.1,0.2]")
    beta: float = key(0.0025, "probability that a gene touches a link: density of the weight generation matrix W")
    module: str | None = key(None, "instead of all that: a torch.nn.Module, as in nne.training.models.cnn.SmallCNN")
    cap: int | None = key(None, "k: only the k most active units of each hidden layer fire (Sec. 4, item 5)")
    filters: Any = key(
        None, "instead of hidden: filters that are the same at every place of a grid; two layers: [10,32]"
    )
    field: Any = key(7, "pixels of a filter's side; of a second layer's, places of the first: [7,5]")
    places: Any = key(10, "of a filter, along each side of the image; in two layers: [10,6]")
    shared: bool = key(True, "with filters: whether one is the same at every place, or each place has its own")
    frozen: bool = key(False, "whether hidden layers stay as they were drawn (learner=evolution, gradient)")

    def __post_init__(self) -> None:
        if self.module is not None:
            of_graph = ("hidden", "edge_probability", "cap", "filters", *FILTER_KEYS)
            unused("network", self, of_graph, f"with network.module={self.module}")
        if self.filters is None:
            unused("network", self, FILTER_KEYS, WITHOUT_FILTERS)
        else:
            self._check_filters()
            unused("network", self, ["edge_probability"], "with network.filters")
            units = [grid.units for grid in self.grids]
            own = listed(self.hidden) in ([HIDDEN], units)
            what = f"network.filters={self.filters} at network.places={self.places} are network.hidden={units}"
            require(own, f"{what}: leave network.hidden out, got {self.hidden}")
            self.hidden = units if len(units) > 1 else units[0]
        whole_numbers("network.hidden", self.hidden)
        given = self.densities
        for probability in given:
            number = isinstance(probability, int | float) and not isinstance(probability, bool)
            require(number, f"network.edge_probability must be a number, or a list of them, got {probability}")
            within("network.edge_probability", probability, 0, 1)
        fits = len(given) == len(self.layers) > 0
        require(fits, f"network.edge_probability must be one number, or one for each of network.hidden={self.hidden}")
        within("network.beta", self.beta, 0, 1)
        at_least("network.cap", self.cap, 1)
        layered = not (self.frozen and self.module)
        require(layered, f"network.frozen=true knows no hidden layers of network.module={self.module}")
        fits = self.cap is None or self.cap <= min(self.layers)
        require(fits, f"network.cap must be at most network.hidden={self.hidden}, got {self.cap}")

    def _check_filters(self) -> None:
        """Every layer of them, and that they fit onto each other."""
        layers = len(listed(self.filters))
        require(1 <= layers <= 2, f"network.filters must be of one layer or two, as in [10,32], got {self.filters}")
        for name in ("filters", "field", "places"):
            given = getattr(self, name)
            fits = len(listed(given)) in (1, layers)
            require(fits, f"network.{name} must be one number, or one for each of network.filters, got {given}")
            whole_numbers(f"network.{name}", given)
        for below, grid in pairwise(self.grids):
            fits = grid.places <= below.places - grid.field + 1
            where = f"network.field={grid.field} at network.places={grid.places}"
            maps = f"maps of {below.places} x {below.places} places: choose both, as in network.field=[7,5]"
            require(fits, f"{where} does not fit onto {maps} network.places=[10,4]")
            require(self.shared, "network.shared=false knows one layer of filters")

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The layers of filters; none of a network without filters."""
        layers = listed(self.filters) if self.filters is not None else []
        numbers = (
            (given * len(layers) if len(given) == 1 else given) for given in map(listed, (self.field, self.places))
        )
        return tuple(map(Grid, layers, *numbers))

    @property
    def fields(self) -> int:
        """Of filters that are not the same at every place: how many each stands for."""
        return 1 if self.shared else self.grids[0].places ** 2

    @property
    def layers(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(listed(self.hidden))

    @property
    def densities(self) -> tuple[float, ...]:
        """The edge probability of each hidden layer."""
        given = self.edge_probability
        return tuple(given) if isinstance(given, list | tuple) else (given,) * len(self.layers)


@dataclass
class FeaturesConfig:
    """A hidden layer with ReLU, by default of fixed random weights, Kaiming uniform: only the output layer above it
    learns (Sec. 3.2), or what is learnt below it needs no error."""

    width: float = key(1000, "h, hidden units; inf: their limit in closed form, for the dopamine learner")
    cap: int | None = key(None, "k: only the k most active hidden units fire (Sec. 4, item 5); null: no cap")
    standardise: bool = key(False, "whether pixels are centred and scaled by the training images' mean and sd")
    seed: int | None = key(None, "seed of the hidden weights alone; null: the run's seed")
    rule: str = key("random", f"where the hidden weights come from: {', '.join(FEATURE_RULES)} (dnn/hebbian.py)")
    eta: float = key(0.02, "rate at which hidden weights are learnt, if they are")
    epochs: int = key(60, "times that they see the training images")

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
        one_of("features.rule", self.rule, FEATURE_RULES)
        within("features.eta", self.eta, 0, float("inf"))
        at_least("features.epochs", self.epochs, 1)
        finite = self.rule == "random" or self.width < float("inf")
        require(finite, f"features.rule={self.rule} learns weights: features.width must be finite, got inf")
        capped = self.rule != "assemblies" or self.cap is not None
        require(capped, "features.rule=assemblies needs a cap, as in features.cap=100")
