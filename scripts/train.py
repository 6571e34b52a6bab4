"""Train one experiment, or sweep over many: `python scripts/train.py experiment=nne_mnist10`."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from nne.config import EvolutionConfig
from training.command_line import Job, check, register
from training.config import Config, typed
from training.errors import UserError
from training.manual import manual_page

if TYPE_CHECKING:  # these import torch, which takes seconds that a misspelt key should not cost
    from training.data import Dataset
    from training.device import Compute
    from training.learner import Learner

CONFIGS = Path(__file__).parent.parent / "configs"
LEARNERS = {"evolution": EvolutionConfig}

log = logging.getLogger("train")
done: list[str] = []
failed: list[str] = []


def build(config: Config, data: "Dataset", compute: "Compute") -> "Learner":
    """The learner that a configuration describes."""
    from nne.evolution import Evolution

    return {"evolution": Evolution}[config.learner.name](config, data, compute)


@hydra.main(version_base="1.3", config_path=str(CONFIGS.resolve()), config_name="train")
def train(composed: DictConfig) -> float | None:
    """One job; returns the headline accuracy, for a sweeper. In a sweep, an error ends this job only."""
    from training.progress import log_to_console
    from training.session import run

    log_to_console()
    settings = HydraConfig.get()
    overrides = list(settings.overrides.task)
    done.append(" ".join(overrides))
    in_sweep = settings.mode is RunMode.MULTIRUN
    if in_sweep:
        log.info("job %d: %s", len(done), done[-1])
    try:
        asked = Job(settings.runtime.choices["experiment"], typed(composed), overrides)
        summary = run(asked, Path(settings.runtime.output_dir) if in_sweep else None, LEARNERS, build)
    except UserError as error:
        if not in_sweep:  # Hydra would print a traceback
            raise SystemExit(report(error)) from error
        log.error("job %s failed: %s", done[-1], error)
        failed.append(done[-1])
        return None
    return float(summary["test_accuracy"])


def report(error: UserError) -> int:
    """One line; the exit code of a user's error."""
    print(f"error: {error}", file=sys.stderr)
    return 2


def main() -> int:
    """Check the command line, then run it; the exit code is 2 for a user's error."""
    arguments = get_args_parser().parse_args()
    if arguments.help:
        print(manual_page(CONFIGS, LEARNERS))
        return 0
    register(LEARNERS)
    asks_hydra = arguments.cfg or arguments.info or arguments.hydra_help or arguments.shell_completion
    try:
        if not asks_hydra:
            check(arguments.overrides, arguments.multirun, CONFIGS, LEARNERS)
        train()
    except UserError as error:
        return report(error)
    except KeyboardInterrupt:
        print("interrupted at once; a run that had begun goes on from its last checkpoint", file=sys.stderr)
        return 130
    if failed:
        print(f"error: {len(failed)} of {len(done)} jobs failed: {'; '.join(failed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
