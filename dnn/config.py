"""The configuration of the dopamine learner. Imports nothing heavy."""

from dataclasses import dataclass

from nne.training.config import DECAYS, Config, LearnerConfig
from nne.training.errors import at_least, one_of, require, within
from nne.training.parts import key
from nne.training.plugin import one_of_or_path

RULES = [
    "literal",
    "text",
    "introduction",
    "introduction_graded",
    "introduction_drawn",
    "introduction_broadcast",
    "gated",
    "gated_graded",
    "gated_drawn",
    "gated_broadcast",
    "reward_prediction",
    "reward_prediction_drawn",
    "demonstration",
    "delta",
]
PRESYNAPTIC = ["graded", "binary"]
INITIAL = ["uniform", "zero"]
PATHS = ["dual", "primal"]


@dataclass
class DopamineConfig(LearnerConfig):
    """Dopaminergic plasticity of the output layer (Sec. 3.2)."""

    name: str = key("dopamine", "which learner this is")
    rule: str = key("gated", f"who is rewarded and how much (dnn/rules.py): one of {', '.join(RULES)}, or your own")
    epsilon_1: float = key(1.0, "epsilon_1, the size of an update; with features.width=inf, epsilon_1 times h")
    epsilon_0: float = key(0.75, "epsilon_0, the loss that parts good predictions from bad ones")
    presynaptic: str = key("graded", "a link moves by h_i u_j (graded) or, if h_i > 0, by u_j (binary)")
    batch: int = key(1, "images an update, which is then the mean over them")
    initial: str = key("uniform", "output weights to begin with: uniform within 1/sqrt(h), or zero")
    decay: str = key("none", "none, or linear: epsilon_1 falls to zero at trainer.max_steps")
    average: bool = key(False, "whether what is tested is the mean of the weights over the second half of the run")
    path: str = key("dual", "dual (an epoch costs the same for any width) or primal (the weights themselves)")

    def __post_init__(self) -> None:
        one_of_or_path("learner.rule", self.rule, RULES)
        within("learner.epsilon_1", self.epsilon_1, 0, float("inf"))
        within("learner.epsilon_0", self.epsilon_0, 0, float("inf"))
        one_of("learner.presynaptic", self.presynaptic, PRESYNAPTIC)
        at_least("learner.batch", self.batch, 1)
        one_of("learner.initial", self.initial, INITIAL)
        one_of("learner.decay", self.decay, DECAYS)
        one_of("learner.path", self.path, PATHS)

    def check(self, config: Config) -> None:
        """What must hold between this learner and the rest of the configuration."""
        config.trains("features")
        config.decays(self.decay)
        assert config.features is not None
        infinite = config.features.width == float("inf")
        require(
            not (infinite and self.path == "primal"),
            "features.width=inf has no weights to keep: learner.path must be dual, got primal",
        )
        ends = not self.average or config.trainer.max_steps is not None
        require(ends, "learner.average begins halfway to trainer.max_steps: set trainer.max_steps=N")
