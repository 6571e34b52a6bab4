"""The configurations of the zoo. Imports nothing heavy."""

from dataclasses import dataclass

from nne.training.config import DECAYS, Config, LearnerConfig
from nne.training.errors import at_least, one_of, require, within
from nne.training.parts import key

FEEDBACKS = ["frozen", "backprop", "fa", "dfa", "drtp", "sign", "kp", "mirror"]
PERTURBED = ["node", "weight", "rank_one"]


@dataclass
class LayersConfig(LearnerConfig):
    """What all that change layers by minibatches have."""

    learning_rate: float = key(0.1, "the size of an update")
    decay: str = key("linear", "none, or linear: the learning rate falls to zero at trainer.max_steps")
    batch: int = key(50, "images an update")

    def __post_init__(self) -> None:
        within("learner.learning_rate", self.learning_rate, 0, float("inf"))
        one_of("learner.decay", self.decay, DECAYS)
        at_least("learner.batch", self.batch, 1)

    def check(self, config: Config) -> None:
        """What must hold between this learner and the rest of the configuration."""
        config.trains("network")
        config.decays(self.decay)
        network = config.network
        assert network
        plain = network.module is None and network.cap is None and network.filters is None
        known = "leave out network.module, network.cap and network.filters"
        require(plain, f"learner={self.name} needs layers it knows: {known}")
        known = "set network.frozen=false, and for hidden layers that stay as they were drawn experiment=frozen_mnist10"
        require(not network.frozen, f"learner={self.name} has learner.rule for that: {known}")


@dataclass
class FeedbackConfig(LayersConfig):
    """Other pathways for the error: what multiplies it in place of the transposed weights."""

    name: str = key("feedback", "which learner this is")
    rule: str = key("fa", f"the pathway of the error: {', '.join(FEEDBACKS)} (see nne/zoo/feedback.py)")
    feedback_rate: float = key(0.001, "kp: weight decay of weights and feedback; mirror: rate of the feedback")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("learner.rule", self.rule, FEEDBACKS)
        within("learner.feedback_rate", self.feedback_rate, 0, 1)


@dataclass
class PepitaConfig(LayersConfig):
    """PEPITA: a second pass, of an image that the error has changed."""

    name: str = key("pepita", "which learner this is")
    scale: float = key(0.5, "how strongly the error changes the image, as a share of what Kaiming weights would")

    def __post_init__(self) -> None:
        super().__post_init__()
        within("learner.scale", self.scale, 0, float("inf"))


@dataclass
class ForwardForwardConfig(LayersConfig):
    """Forward-forward: two passes, with the right label and with a wrong one."""

    name: str = key("forward_forward", "which learner this is")
    threshold: float = key(1.0, "theta, the mean square of a layer's activity that parts right from wrong")

    def __post_init__(self) -> None:
        super().__post_init__()
        within("learner.threshold", self.threshold, 0, float("inf"))


@dataclass
class TargetPropagationConfig(LayersConfig):
    """Difference target propagation: targets of layers through learnt inverses."""

    name: str = key("target_propagation", "which learner this is")
    target_rate: float = key(1.0, "how far the target of the last hidden layer is from its activity")
    inverse_rate: float = key(0.1, "the size of an update of the inverses")
    noise: float = key(0.3, "sd of the noise around activity that the inverses learn on")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("target_rate", "inverse_rate", "noise"):
            within(f"learner.{name}", getattr(self, name), 0, float("inf"))

    def check(self, config: Config) -> None:
        """What must hold between this learner and the rest of the configuration."""
        super().check(config)
        assert config.network
        deep = len(config.network.layers) > 1
        require(
            deep,
            "learner=target_propagation needs two hidden layers or more, as in network.hidden=[1000,500]: with one it "
            f"is backpropagation; got network.hidden={config.network.hidden}",
        )


@dataclass
class EquilibriumConfig(LayersConfig):
    """Equilibrium propagation: an energy, relaxed freely and then nudged towards the label."""

    name: str = key("equilibrium", "which learner this is")
    beta: float = key(0.5, "the strength of the nudge, whose sign is drawn for each update")
    step_size: float = key(0.5, "of the relaxation")
    free_steps: int = key(20, "of the free phase")
    nudged_steps: int = key(4, "of the nudged phase")

    def __post_init__(self) -> None:
        super().__post_init__()
        within("learner.beta", self.beta, 0, float("inf"))
        within("learner.step_size", self.step_size, 0, 1)
        at_least("learner.free_steps", self.free_steps, 1)
        at_least("learner.nudged_steps", self.nudged_steps, 1)


@dataclass
class PredictiveCodingConfig(LayersConfig):
    """Predictive coding: hidden layers relax between what is predicted from below and what the label asks for."""

    name: str = key("predictive_coding", "which learner this is")
    precision_of_label: float = key(1.0, "the weight of the output's error beside those of hidden layers")
    step_size: float = key(0.1, "of the relaxation")
    steps: int = key(20, "of the relaxation")

    def __post_init__(self) -> None:
        super().__post_init__()
        within("learner.precision_of_label", self.precision_of_label, 0, float("inf"))
        within("learner.step_size", self.step_size, 0, 1)
        at_least("learner.steps", self.steps, 1)


@dataclass
class PerturbationConfig(LayersConfig):
    """Noise on units or weights, and by how much the loss changed: one scalar for all."""

    name: str = key("perturbation", "which learner this is")
    rule: str = key("node", f"what is perturbed: {', '.join(PERTURBED)} (see nne/zoo/perturbation.py)")
    sigma: float = key(0.01, "sd of the noise")
    samples: int = key(1, "noises that are tried on each minibatch")
    decorrelation_rate: float = key(0.0, "node: how fast each layer's input is decorrelated; 0: not at all")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("learner.rule", self.rule, PERTURBED)
        within("learner.sigma", self.sigma, 0, float("inf"))
        at_least("learner.samples", self.samples, 1)
        at_least("learner.decorrelation_rate", self.decorrelation_rate, 0)
        for_nodes = self.rule == "node" or self.decorrelation_rate == 0
        require(for_nodes, f"learner.decorrelation_rate is for learner.rule=node, got learner.rule={self.rule}")


@dataclass
class OwnLayerConfig(LearnerConfig):
    """Of learners that bring the only layer of their network."""

    def check(self, config: Config) -> None:
        """What must hold between this learner and the rest of the configuration."""
        assert config.images
        right = config.network is None and config.features is None
        require(right, f"learner={self.name} has its own layer; choose network=none, features=none")


@dataclass
class RewardStdpConfig(OwnLayerConfig):
    """Spikes and a reward: a layer of neurons of which the first to fire answers and learns."""

    name: str = key("reward_stdp", "which learner this is")
    neurons: int = key(40, "for each class")
    times: int = key(16, "T, at which pixels may fire")
    threshold: float = key(60.0, "the potential at which a neuron fires")
    learning_rate: float = key(0.01, "the size of an update")
    batch: int = key(5, "images that are answered before weights change")

    def __post_init__(self) -> None:
        for name in ("neurons", "times", "batch"):
            at_least(f"learner.{name}", getattr(self, name), 1)
        for name in ("threshold", "learning_rate"):
            within(f"learner.{name}", getattr(self, name), 0, float("inf"))


@dataclass
class DiehlCookConfig(OwnLayerConfig):
    """Spikes without labels: competing neurons, spike-timing-dependent plasticity, thresholds that adapt."""

    name: str = key("diehl_cook", "which learner this is")
    neurons: int = key(400, "excitatory neurons")
    milliseconds: int = key(250, "T, for which an image is shown")
    eta: float = key(0.01, "the size of an update at a spike")
    theta_plus: float = key(0.05, "by how many mV a neuron's threshold grows with each of its spikes")
    inhibition: float = key(120.0, "by how many mV a spike holds all other neurons down")
    batch: int = key(1, "images that are shown side by side before weights are scaled")

    def __post_init__(self) -> None:
        for name in ("neurons", "milliseconds", "batch"):
            at_least(f"learner.{name}", getattr(self, name), 1)
        for name in ("eta", "inhibition"):
            within(f"learner.{name}", getattr(self, name), 0, float("inf"))
        at_least("learner.theta_plus", self.theta_plus, 0)
