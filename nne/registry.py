"""What can be trained: every learner's configuration, and how it is built. Here alone do the two sciences meet."""

from dataclasses import is_dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnn.config import DopamineConfig
from nne.learners.config import EvolutionConfig, FinetuneConfig, LinearConfig
from nne.training.cli import check, register
from nne.training.config import Config, GradientConfig, LearnerConfig
from nne.training.errors import require
from nne.training.parts import key
from nne.training.plugin import is_path, load
from nne.zoo.config import FeedbackConfig

if TYPE_CHECKING:  # these import torch, which takes seconds that a misspelt key should not cost
    from nne.training.data.datasets import Dataset
    from nne.training.device import Compute
    from nne.training.learner import Learner

METHODS = ("step", "evaluate", "state_dict", "load_state_dict")
_PACKAGE = Path(__file__).parent
_CLONE = _PACKAGE.parent / "configs"
CONFIGS = _CLONE if (_CLONE / "train.yaml").exists() else _PACKAGE / "configs"
"""The folder of configurations: of the clone, or what was installed with the package."""


class Learners(dict[str, Any]):
    """The configuration of every learner, by the learner's name or, for one of your own, by its class's dotted path."""

    def __missing__(self, name: str) -> Any:
        """That of a class of your own: its ``Config``, if it has one, under its own name.

        Raises:
            KeyError: it is no path.
            UserError: what it names is no learner.
        """
        if not is_path(name):
            raise KeyError(name)
        learner = load("learner", name)
        missing = [
            method for method in ("step", "evaluate", "state_dict", "load_state_dict") if not hasattr(learner, method)
        ]
        require(not missing, f"learner={name} must be a subclass of nne.training.learner.Learner; it has no {missing}")
        schema = getattr(learner, "Config", LearnerConfig)
        right = is_dataclass(schema) and issubclass(schema, LearnerConfig)
        require(right, f"learner={name}: its Config must be a dataclass that extends nne.training.config.LearnerConfig")
        named = [("name", str, key(name, "which learner this is"))]
        self[name] = make_dataclass(learner.__name__ + "Config", named, bases=(schema,))
        return self[name]


LEARNERS = Learners(
    evolution=EvolutionConfig,
    finetune=FinetuneConfig,
    linear=LinearConfig,
    dopamine=DopamineConfig,
    gradient=GradientConfig,
    feedback=FeedbackConfig,
)


def composed(*overrides: str) -> Config:
    """The configuration of a command line."""
    register(LEARNERS)
    (job,) = check(list(overrides), False, CONFIGS, LEARNERS)
    return job.config


def build(config: Config, data: "Dataset", compute: "Compute") -> "Learner":
    """The learner that a configuration describes."""
    if is_path(config.learner.name):
        learner: Learner = load("learner", config.learner.name)(config, data, compute)
        return learner
    if config.learner.name == "gradient":
        return gradient_descent(config, data, compute)
    if config.learner.name == "dopamine":
        from dnn.network import Dopamine

        return Dopamine(config, data, compute)
    if config.learner.name == "feedback":
        from nne.zoo.feedback import Feedback

        return Feedback(config, data, compute)
    if config.learner.name == "finetune":
        from nne.learners.finetune import Finetune

        return Finetune(config, data, compute)
    if config.learner.name == "linear":
        from nne.learners.linear import LinearEvolution

        return LinearEvolution(config, data, compute)
    from nne.learners.network import NetworkEvolution

    return NetworkEvolution(config, data, compute)


def gradient_descent(config: Config, data: "Dataset", compute: "Compute") -> "Learner":
    """A baseline: the whole network that evolution has, or the output layer that plasticity has."""
    from dnn.features import RandomFeatures
    from nne.training.baselines.gradient import GradientDescent
    from nne.training.models.network import trainable_network
    from nne.training.models.output_layer import OutputLayer

    inputs, classes = data.train_images.shape[1], len(data.classes)
    if config.network:
        network = trainable_network(config.network, inputs, classes, config.seed)
        return GradientDescent(config, data, compute, network.to(compute.device))
    assert config.features
    features = RandomFeatures(config.features, config.features_seed, data.train_images, compute.dtype)
    start = features.output_weights(classes, "uniform")
    return GradientDescent(config, data, compute, OutputLayer(features, start.T[None].contiguous()))
