"""The configurations of evolution, and of learning that starts from what evolved. Imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from nne.training.config import Config, GradientConfig, LearnerConfig
from nne.training.errors import at_least, one_of, require, within
from nne.training.parts import WITHOUT_FILTERS, DataConfig, NetworkConfig, key, listed, unused, whole_numbers
from nne.training.plugin import one_of_or_path

EXPRESSIONS = ["identity", "relu", "sigmoid", "tanh"]
TRANSFORMS = ["none", "standardise", "rank"]
CREDITS = ["total", "class", "module"]
SELECTIONS = ["population_genetics", "pbil", "compact_ga", "igo", "momentum", "adam", "ridge", "hedge"]


@dataclass
class EvolutionConfig(LearnerConfig):
    """Neural net evolution (Sec. 2 and 3.1)."""

    precision: ClassVar[str] = "auto"
    supports_distributed: ClassVar[bool] = True

    name: str = key("evolution", "which learner this is")
    genes: int = key(5000, "n, the number of genes")
    expression: str = key(
        "identity", f"g in the weights g(W x): {', '.join(EXPRESSIONS)}, or your own (Sec. 4, item 1)"
    )
    population: int = key(1000, "N, individuals in a generation")
    selection: str = key(
        "population_genetics", f"how p moves, by eq. (3) or else: {', '.join(SELECTIONS)}, or your own"
    )
    epsilon: float = key(1.0, "strength of selection")
    epsilon_final: float | None = key(None, "strength of selection at trainer.max_steps, reached geometrically")
    weak_until: float = key(0.0, "share of trainer.max_steps for which selection stays at epsilon")
    batch: int | None = key(None, "images a generation, the same for all of a group; null: all of the training set")
    groups: int = key(
        1, "groups of individuals, each with images of its own; fitness counts from the mean of the group"
    )
    temperature: float | None = key(
        None,
        "the logits are divided by this in the fitness; null: by their spread over classes in the first generation",
    )
    fitness: str = key("standardise", "delta_x over the population: none (as printed), standardise, rank, or your own")
    freeze: float | None = key(
        None,
        "alleles within so much of 0 or 1 are fixed for good (Sec. 4, item 2), and cost nothing but with credit=module",
    )
    stop_at_fixed: float | None = key(None, "stop once this share of the alleles is fixed (within 0.01 of 0 or 1)")
    relative_temperature: float = key(1.0, "with temperature: null, what their spread is multiplied by")
    filter_genes: Any = key(
        60,
        "with network.filters: genes of each filter; the others are for classes to read with; in two layers, [200,60]: "
        "of each filter of the second for each map of the first",
    )
    class_genes: int | None = key(
        None,
        "of a random graph: genes of each class for its output weights alone; the others are for hidden layers. "
        "null: all act anywhere",
    )
    smooth: float = key(1.0, "with network.filters: sd of the patterns that a gene paints, in pixels and places")
    credit: str = key(
        "total",
        "what a gene is judged by: total, all of the loss; class, a class's own genes by its share; module, of "
        "network.filters, each filter, and each readout of one, in a body whose others are average",
    )
    centre_logits: bool = key(False, "whether each individual's logits are centred over the images, class by class")
    p0: float = key(0.5, "p begins uniform within so much of 1/2")
    mutation: float = key(0.0, "rate of mutation, falling linearly to 0 at weak_until")
    test_individuals: int = key(100, "individuals drawn for the final evaluation; a fifth of them on the way")

    def __post_init__(self) -> None:
        at_least("learner.genes", self.genes, 1)
        one_of_or_path("learner.expression", self.expression, EXPRESSIONS)
        at_least("learner.population", self.population, 2)
        within("learner.epsilon", self.epsilon, 0, float("inf"))
        within("learner.epsilon_final", self.epsilon_final or self.epsilon, 0, float("inf"))
        require(0 <= self.weak_until < 1, f"learner.weak_until must be from 0 to below 1, got {self.weak_until}")
        at_least("learner.batch", self.batch, 1)
        at_least("learner.groups", self.groups, 1)
        alike = self.population % self.groups == 0 and self.population >= 2 * self.groups
        multiple = f"learner.population must be a multiple of learner.groups={self.groups}, and at least twice as many"
        require(alike, f"{multiple}, got {self.population}")
        own = self.groups == 1 or self.batch is not None
        require(own, f"learner.groups={self.groups} have images of their own: set learner.batch=100, got null")
        within("learner.temperature", 1.0 if self.temperature is None else self.temperature, 0, float("inf"))
        one_of_or_path("learner.fitness", self.fitness, TRANSFORMS)
        one_of_or_path("learner.selection", self.selection, SELECTIONS)
        frozen = 0 if self.freeze is None else self.freeze
        require(0 <= frozen < 0.5, f"learner.freeze must be from 0 to below 0.5, got {self.freeze}")
        within("learner.stop_at_fixed", 1.0 if self.stop_at_fixed is None else self.stop_at_fixed, 0, 1)
        at_least("learner.test_individuals", self.test_individuals, 2)
        one_of("learner.credit", self.credit, CREDITS)
        whole_numbers("learner.filter_genes", self.filter_genes)
        at_least("learner.class_genes", self.class_genes, 1)
        at_least("learner.smooth", self.smooth, 0)
        within("learner.p0", self.p0, 0, 0.5)
        require(0 <= self.mutation < 0.5, f"learner.mutation must be from 0 to below 0.5, got {self.mutation}")
        kept = self.mutation == 0 or self.freeze is None
        require(kept, f"learner.mutation={self.mutation} lets no allele be fixed: set learner.freeze=null")

    def check(self, config: Config) -> None:
        """What must hold between this learner and the rest of the configuration."""
        config.trains("network")
        assert config.network
        self._check_genes(config.network, config.images)
        self._check_images(config.images)
        ends = self.epsilon_final is None or config.trainer.max_steps is not None
        require(ends, "learner.epsilon_final is reached at trainer.max_steps: set trainer.max_steps=N")

    def _check_genes(self, network: NetworkConfig, images: DataConfig) -> None:
        """Which weights they act on, and what they are judged by."""
        painted, by_class = network.filters is not None, self.class_genes is not None
        if self.credit == "class":
            needed = "the genes of network.filters or learner.class_genes"
            require(painted or by_class, f"learner.credit=class needs {needed}")
        if self.credit == "module":
            require(painted, "learner.credit=module needs the genes of network.filters")
            known = network.cap is None or len(network.grids) == 1
            require(known, f"learner.credit=module knows network.cap={network.cap} of one layer: set network.cap=null")
        if by_class:
            random = not painted and network.module is None
            require(
                random, f"learner.class_genes={self.class_genes} is for a random graph: set learner.class_genes=null"
            )
            self.hidden_genes(len(images.classes) if images.chosen else 0)
        if painted:
            self.readout_genes(network, len(images.classes) if images.chosen else 1)
        else:
            unused("learner", self, ["filter_genes", "smooth"], WITHOUT_FILTERS)
        if network.frozen:
            example = "set learner.class_genes=1000, or network.filters"
            apart = painted or by_class
            require(apart, f"network.frozen=true needs genes that act on hidden layers alone: {example}")
            require(not self.mutation, "network.frozen=true keeps genes as they are: set learner.mutation=0")

    def _check_images(self, images: DataConfig) -> None:
        """How many of them a generation sees."""
        centres = self.batch is None or self.batch > 1 or not self.centre_logits
        require(centres, "learner.centre_logits centres over the images of a generation: set learner.batch=100, got 1")
        few = self.batch is not None or (self.credit == "total" and not self.centre_logits)
        need = "learner.credit and centre_logits keep all logits of a generation"
        require(few, f"{need}: set learner.batch=100, got null")
        if self.batch and images.per_class and images.chosen:
            most, together = len(images.classes) * images.per_class, self.groups * self.batch
            what = "learner.batch" if self.groups == 1 else "learner.groups x learner.batch"
            right = together <= most
            require(right, f"{what} must be at most {most} (data.per_class x classes), got {together}")

    def hidden_genes(self, classes: int) -> int:
        """How many genes act on hidden layers of a random graph: all but those of ``classes`` that have their own.

        Raises:
            UserError: there are none.
        """
        of_classes = classes * (self.class_genes or 0)
        enough = self.genes > of_classes
        what = f"{of_classes + 1} with learner.class_genes={self.class_genes} for each of {classes} classes"
        require(enough, f"learner.genes must be at least {what}, got {self.genes}")
        return self.genes - of_classes

    def readout_genes(self, network: NetworkConfig, classes: int) -> int:
        """With ``network.filters``: how many genes a class has to read each filter with.

        Raises:
            UserError: the genes cannot be shared out.
        """
        grids, genes = network.grids, self.genes_of_filters
        fits = len(genes) == len(grids)
        require(fits, f"learner.filter_genes must be one number for each of network.filters, got {self.filter_genes}")
        first, readers = grids[0].filters * network.fields, grids[-1].filters * classes
        painting = first * genes[0]
        what = f"{genes[0]} for each of {first} {'filters' if network.shared else 'fields'}"
        for below, grid, number in zip(grids, grids[1:], genes[1:], strict=False):
            painting += grid.filters * below.filters * number
            what += f", {number} for each of {grid.filters} x {below.filters} pairs of a filter and a map"
        left = self.genes - painting
        example = painting + readers * (round(left / readers) if left > readers else 150)
        require(
            left > 0 and left % readers == 0,
            f"learner.genes must be {what}, and as many more for each pair of a filter and a class, as in "
            f"learner.genes={example}; got {self.genes}",
        )
        return left // readers

    @property
    def genes_of_filters(self) -> list[int]:
        """``filter_genes``, layer by layer."""
        return listed(self.filter_genes)

    def beyond_kernels(self, config: Config) -> str | None:
        """Why the C++ and the CUDA kernels could not evaluate these networks, if so."""
        network = config.network
        assert network
        limits = {
            "it knows no network.module": network.module is not None,
            "it knows one hidden layer": len(network.layers) > 1,
            "it knows no network.cap": network.cap is not None,
            "its weights are the identity or relu of W x": self.expression not in ("identity", "relu"),
        }
        return next((limit for limit, passed in limits.items() if passed), None)


@dataclass
class FinetuneConfig(GradientConfig):
    """NNE with output layer training: individuals drawn from an evolved ``p`` go on to learn (Sec. 3.1)."""

    name: str = key("finetune", "which learner this is")
    optimiser: str = key("signsgd", GradientConfig.__dataclass_fields__["optimiser"].metadata["doc"])
    evolved: str | None = key(None, "folder of an evolution run to draw individuals from; null: evolve first")
    evolve: list[str] = field(
        default_factory=lambda: ["experiment=nne_mnist10"],
        metadata={"doc": "how to evolve first, as quoted overrides; all but its learner and trainer are this run's"},
    )
    individuals: int = key(10, "individuals drawn; each learns by itself")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("learner.individuals", self.individuals, 2)

    def check(self, config: Config) -> None:
        """What must hold between this learner and the rest of the configuration."""
        config.trains("network")
        assert config.network
        module = config.network.module
        require(module is None, f"learner={self.name} needs a sparse network; set network.module=null, got {module}")
        never = "never trains hidden layers: set network.frozen=false"
        require(not config.network.frozen, f"learner={self.name} {never}")
        filters, jitter = config.network.filters, config.images.jitter
        require(filters is None, f"learner={self.name} needs a sparse network; set network.filters=null, got {filters}")
        require(not jitter, f"learner={self.name} computes hidden layers once: set data.jitter=0, got {jitter}")
        config.decays(self.decay)


@dataclass
class LinearConfig(LearnerConfig):
    """Evolution towards a linear target (Sec. 2.1)."""

    name: str = key("linear", "which learner this is")
    inputs: int = key(50, "m, the dimension of the inputs")
    genes: int = key(1000, "n, the number of genes")
    nonzeros: int = key(5, "d, how many of its m weights a gene touches on average")
    epsilon: float | None = key(
        None, "strength of selection in eq. (3); null: the strongest that Theorem 1 allows, anew in each generation"
    )
    population: int | None = key(None, "N, individuals in a generation; null: infinitely many, in closed form")
    stop_at_cosine: float | None = key(None, "stop once W p and the target are this close")

    def __post_init__(self) -> None:
        at_least("learner.inputs", self.inputs, 2)
        at_least("learner.genes", self.genes, 1)
        right = 1 <= self.nonzeros <= self.inputs
        require(right, f"learner.nonzeros must be from 1 to learner.inputs={self.inputs}, got {self.nonzeros}")
        within("learner.epsilon", 1.0 if self.epsilon is None else self.epsilon, 0, float("inf"))
        at_least("learner.population", self.population, 2)
        within("learner.stop_at_cosine", 1.0 if self.stop_at_cosine is None else self.stop_at_cosine, 0, 1)

    def check(self, config: Config) -> None:
        """What must hold between this learner and the rest of the configuration."""
        config.trains()
