"""What can be trained: every learner's configuration, and how it is built. Here alone do the two sciences meet."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnn.config import DopamineConfig
from nne.config import EvolutionConfig, LifetimeConfig, LinearConfig
from training.command_line import check, register
from training.config import Config, GradientConfig

if TYPE_CHECKING:  # these import torch, which takes seconds that a misspelt key should not cost
    from training.data import Dataset
    from training.device import Compute
    from training.learner import Learner

CONFIGS = Path(__file__).parent.parent / "configs"
LEARNERS: dict[str, Any] = {
    "evolution": EvolutionConfig,
    "lifetime": LifetimeConfig,
    "linear": LinearConfig,
    "dopamine": DopamineConfig,
    "gradient": GradientConfig,
}


def composed(*overrides: str) -> Config:
    """The configuration of a command line."""
    register(LEARNERS)
    (job,) = check(list(overrides), False, CONFIGS, LEARNERS)
    return job.config


def build(config: Config, data: "Dataset", compute: "Compute") -> "Learner":
    """The learner that a configuration describes."""
    if config.learner.name == "gradient":
        return gradient_descent(config, data, compute)
    if config.learner.name == "dopamine":
        from dnn.network import Dopamine

        return Dopamine(config, data, compute)
    if config.learner.name == "lifetime":
        from nne.lifetime import Lifetime

        return Lifetime(config, data, compute)
    if config.learner.name == "linear":
        from nne.linear_evolution import LinearEvolution

        return LinearEvolution(config, data, compute)
    from nne.learner import NetworkEvolution

    return NetworkEvolution(config, data, compute)


def gradient_descent(config: Config, data: "Dataset", compute: "Compute") -> "Learner":
    """A baseline: the whole network that evolution has, or the output layer that plasticity has."""
    from dnn.features import RandomFeatures
    from training.gradient import GradientDescent
    from training.network import trainable_network
    from training.output_layer import OutputLayer

    inputs, classes = data.train_images.shape[1], len(data.classes)
    if config.network:
        network = trainable_network(config.network, inputs, classes, config.seed)
        return GradientDescent(config, data, compute, network.to(compute.device))
    assert config.features
    features = RandomFeatures(config.features, config.features_seed, data.train_images, compute.dtype)
    start = features.output_weights(classes, "uniform")
    return GradientDescent(config, data, compute, OutputLayer(features, start.T[None].contiguous()))
