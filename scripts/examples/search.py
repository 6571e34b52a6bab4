"""Search for settings by Optuna's ask and tell: `pip install optuna && python scripts/examples/search.py [TRIALS]`.

Each trial is a run of its own folder, by the command that a person would type. Stopped, it goes on when called again.
"""

import json
import subprocess
import sys
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

TRAIN = Path(__file__).parent.parent / "train.py"
FOLDER = Path("outputs/search")
FIXED = ["experiment=nne_mnist10", "data=embedded", "learner.genes=1000", "trainer.max_steps=40", "trainer.quiet=true"]


def run(trial: optuna.Trial) -> float | None:
    """The accuracy of one run; ``None`` if it failed."""
    chosen = {
        "learner.epsilon": trial.suggest_float("learner.epsilon", 0.3, 5, log=True),
        "learner.batch": trial.suggest_int("learner.batch", 20, 500, log=True),
        "network.beta": trial.suggest_float("network.beta", 0.0005, 0.02, log=True),
    }
    folder = FOLDER / f"trial_{trial.number:04d}"
    overrides = [f"{name}={value}" for name, value in chosen.items()]
    command = [sys.executable, str(TRAIN), *FIXED, *overrides, f"run_dir={folder}", "resume=auto"]
    if subprocess.run(command).returncode:
        return None
    return float(json.loads((folder / "summary.json").read_text())["test_accuracy"])


def main() -> None:
    """Ask for settings, run them, tell what they reached."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(FOLDER / "journal.log")))
    study = optuna.create_study(storage=storage, study_name="nne", direction="maximize", load_if_exists=True)
    while len(study.trials) < (int(sys.argv[1]) if len(sys.argv) > 1 else 30):
        trial = study.ask()
        accuracy = run(trial)
        study.tell(trial, accuracy, None if accuracy is not None else optuna.trial.TrialState.FAIL)
        print(f"trial {trial.number}: {accuracy} with {trial.params}; best so far {study.best_value:.4f}", flush=True)
    print(f"best: {study.best_value:.4f} with {study.best_params}")


if __name__ == "__main__":
    main()
