"""What a run has learnt, class by class: `python scripts/evaluate.py run=PATH [split=test|train]`.

Prints accuracies and a table of classes, and draws the confusion matrix into the run's folder.
"""

from pathlib import Path

from rich.table import Table
from torch import Tensor

from nne.registry import LEARNERS, build
from nne.training.arguments import options, script
from nne.training.data.datasets import Dataset
from nne.training.errors import one_of, require
from nne.training.logging import figures
from nne.training.logging.progress import console
from nne.training.run import load_run

KEYS = {"run": None, "split": "test"}


def evaluate(folder: Path, split: str) -> None:
    """Print and draw.

    Raises:
        UserError: there is no such run or split, or it has no classes.
    """
    one_of("split", split, ["test", "train"])
    learner, data, metadata = load_run(folder, LEARNERS, build)
    require(bool(data.classes), f"run={folder}: {metadata.experiment} has no classes to tell apart")
    images, labels = images_of(data, split)
    done = f"{learner.step_name} {metadata.step}"
    which = f"{metadata.experiment}, seed {metadata.config['seed']}, {done}"
    console.print(f"{which}: {len(labels):,} {split} images, {data.name}")
    measured = learner.last_point(images, labels, learner.summary(images, labels))
    for name, value in measured.items():
        console.print(f"{name.removeprefix('test/')}: {value:.2%}")
    counts = learner.confusion(images, labels).double().cpu()
    console.print(table(counts, data.classes))
    path = folder / "figures" / f"confusion_{split}.png"
    figure = figures.confusion(counts, f"{split}, {done}")
    console.print(figures.saved(figure, path, "the confusion matrix"), soft_wrap=True)


def images_of(data: Dataset, split: str) -> tuple[Tensor, Tensor]:
    """Images and labels."""
    return (data.test_images, data.test_labels) if split == "test" else (data.train_images, data.train_labels)


def table(counts: Tensor, classes: tuple[int, ...]) -> Table:
    """Recall and precision of each class, from ``counts: [C, C]``, a row a true class."""
    rows = Table("class", "images", "recall, %", "precision, %", "most confused with")
    wrong = counts - counts.diag().diag()
    for i, name in enumerate(classes):
        right, most = float(counts[i, i]), int(wrong[i].argmax())
        images, called = float(counts[i].sum()), float(counts[:, i].sum())
        error = f"{classes[most]} ({100 * float(wrong[i, most]) / images:.1f} %)" if wrong[i].any() else ""
        shares = f"{100 * right / images:.2f}" if images else "", f"{100 * right / called:.2f}" if called else ""
        rows.add_row(str(name), f"{images:,.0f}", *shares, error)
    return rows


def main() -> int:
    """Parse the command line; the exit code is 2 for a user's error."""

    def work(arguments: list[str]) -> None:
        chosen = options(arguments, KEYS)
        evaluate(Path(chosen["run"]), chosen["split"])

    return script(__doc__ or "", work)
