"""What an evolution left behind, read back from its folder."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nne.learners.config import EvolutionConfig
from nne.training.config import Config, from_dict
from nne.training.errors import require
from nne.training.io import checkpoint


@dataclass(frozen=True)
class Evolved:
    """A run of evolution: its configuration and data set, and by generation ``p: [n]`` at milestones and now.

    trajectories: the frequencies of a few alleles, ``[loci]``, at many more generations.
    """

    config: Config
    dataset: str
    history: dict[int, Tensor]
    trajectories: dict[int, Tensor]

    @property
    def generation(self) -> int:
        """How many have lived."""
        return max(self.history)

    @property
    def p(self) -> Tensor:
        """The allele frequencies after the last generation."""
        return self.history[self.generation]


def evolved(folder: Path, where: str) -> Evolved:
    """Read the newest checkpoint of a run.

    Args:
        where: how the user named the folder, for messages.

    Raises:
        UserError: there is none, or it is not of evolution.
    """
    require(folder.is_dir(), f"{where}: there is no such folder")
    state, metadata = checkpoint.load_latest(folder / "checkpoints")
    name = metadata.config["learner"]["name"]
    require(name == "evolution", f"{where} must be a run of learner=evolution, is of {name}")
    history, trajectories = (
        dict(zip(state[f"{name}_generations"].tolist(), state[f"{name}_p"].double(), strict=True))
        for name in ("history", "trajectory")
    )
    config = from_dict(metadata.config, {"evolution": EvolutionConfig})
    return Evolved(config, metadata.dataset, {**history, metadata.step: state["p"]}, trajectories)
