"""The configurations of the zoo. Imports nothing heavy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nne.training.config import DECAYS, LearnerConfig
from nne.training.errors import at_least, one_of, require, within
from nne.training.parts import key

if TYPE_CHECKING:
    from nne.training.config import Config

FEEDBACKS = ["frozen", "backprop", "fa", "dfa", "sign", "kp", "mirror"]


@dataclass
class FeedbackConfig(LearnerConfig):
    """Another way down for the error: what multiplies it in place of the transposed weights."""

    name: str = key("feedback", "which learner this is")
    rule: str = key("fa", f"the way down for the error: {', '.join(FEEDBACKS)} (see nne/zoo/ways_down.py)")
    learning_rate: float = key(0.1, "the size of an update")
    decay: str = key("linear", "none, or linear: the learning rate falls to zero at trainer.max_steps")
    batch: int = key(50, "images an update")
    feedback_rate: float = key(0.001, "kp: weight decay of weights and feedback; mirror: rate of the feedback")

    def __post_init__(self) -> None:
        one_of("learner.rule", self.rule, FEEDBACKS)
        within("learner.learning_rate", self.learning_rate, 0, float("inf"))
        one_of("learner.decay", self.decay, DECAYS)
        at_least("learner.batch", self.batch, 1)
        within("learner.feedback_rate", self.feedback_rate, 0, 1)

    def check(self, config: "Config") -> None:
        """What must hold between this learner and the rest of the configuration."""
        config.trains("network")
        config.decays(self.decay)
        network = config.network
        plain = network is not None and network.module is None and network.cap is None
        require(plain, "learner=feedback needs layers it knows: leave out network.module and network.cap")
