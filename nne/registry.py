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
from nne.zoo.config import (
    DiehlCookConfig,
    EquilibriumConfig,
    FeedbackConfig,
    ForwardForwardConfig,
    PepitaConfig,
    PerturbationConfig,
    PredictiveCodingConfig,
    RewardStdpConfig,
    TargetPropagationConfig,
)

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
        missing = [method for method in METHODS if not hasattr(learner, method)]
        require(not missing, f"learner={name} must be a subclass of nne.training.learner.Learner; it has no {missing}")
        schema = getattr(learner, "Config", LearnerConfig)
        right = is_dataclass(schema) and issubclass(schema, LearnerConfig)
        require(right, f"learner={name}: its Config must be a dataclass that extends nne.training.config.LearnerConfig")
        named = [("name", str, key(name, "which learner this is"))]
        self[name] = make_dataclass(learner.__name__ + "Config", named, bases=(schema,))
        return self[name]


CLASSES = {
    "evolution": "nne.learners.network.NetworkEvolution",
    "finetune": "nne.learners.finetune.Finetune",
    "linear": "nne.learners.linear.LinearEvolution",
    "dopamine": "dnn.network.Dopamine",
    "gradient": "nne.registry.gradient_descent",
    "feedback": "nne.zoo.feedback.Feedback",
    "perturbation": "nne.zoo.perturbation.Perturbation",
    "pepita": "nne.zoo.pepita.Pepita",
    "forward_forward": "nne.zoo.forward_forward.ForwardForward",
    "target_propagation": "nne.zoo.target_propagation.TargetPropagation",
    "equilibrium": "nne.zoo.equilibrium.Equilibrium",
    "diehl_cook": "nne.zoo.diehl_cook.DiehlCook",
    "reward_stdp": "nne.zoo.reward_stdp.RewardStdp",
    "predictive_coding": "nne.zoo.predictive_coding.PredictiveCoding",
}
"""What makes each learner of a configuration, data and hardware: imported when it is wanted."""

LEARNERS = Learners(
    evolution=EvolutionConfig,
    finetune=FinetuneConfig,
    linear=LinearConfig,
    dopamine=DopamineConfig,
    gradient=GradientConfig,
    feedback=FeedbackConfig,
    perturbation=PerturbationConfig,
    pepita=PepitaConfig,
    forward_forward=ForwardForwardConfig,
    target_propagation=TargetPropagationConfig,
    equilibrium=EquilibriumConfig,
    predictive_coding=PredictiveCodingConfig,
    reward_stdp=RewardStdpConfig,
    diehl_cook=DiehlCookConfig,
)


def composed(*overrides: str) -> Config:
    """The configuration of a command line."""
    register(LEARNERS)
    (job,) = check(list(overrides), False, CONFIGS, LEARNERS)
    return job.config


def build(config: Config, data: "Dataset", compute: "Compute") -> "Learner":
    """The learner that a configuration describes."""
    name = config.learner.name
    kind = load("learner", CLASSES.get(name, name))
    lacking = sorted(getattr(kind, "__abstractmethods__", ()))
    require(not lacking, f"learner={name} has no {', '.join(lacking)}: see nne.training.learner.Learner")
    learner: Learner = kind(config, data, compute)
    require(hasattr(learner, "compute"), f"learner={name} must keep what it computes on: self.compute = compute")
    return learner


def gradient_descent(config: Config, data: "Dataset", compute: "Compute") -> "Learner":
    """A baseline: the whole network that evolution has, or the output layer that plasticity has."""
    from dnn.hebbian import hidden_layer
    from nne.training.baselines.gradient import GradientDescent
    from nne.training.models.filters import FilterNetwork
    from nne.training.models.network import trainable_network
    from nne.training.models.output_layer import OutputLayer

    inputs, classes = data.train_images.shape[1], len(data.classes)
    if config.network:
        if config.network.filters:
            filters = FilterNetwork(data.train_images.mean(dim=0), config.network, classes, config.seed)
            return GradientDescent(config, data, compute, filters.to(compute.device))
        network = trainable_network(config.network, inputs, classes, config.seed)
        return GradientDescent(config, data, compute, network.to(compute.device))
    assert config.features
    features = hidden_layer(config.features, config.features_seed, data, compute.dtype)
    start = features.output_weights(classes, "uniform")
    return GradientDescent(config, data, compute, OutputLayer(features, start.T[None].contiguous()))
