"""Predictions for your own digits: `python scripts/predict.py run=PATH digit.png ...`.

Pictures may be of any size, dark on light or light on dark; each is centred and scaled as MNIST's are. Prints for each
the prediction and its confidence, and draws what the network saw. Confidence is calibrated on the test images: of all
predictions made at 80 %, about 80 % are right (for pictures that are like MNIST's).
"""

from pathlib import Path

import torch
from rich.table import Table
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from nne.registry import LEARNERS, build
from nne.training.arguments import options, script
from nne.training.data.handwriting import read_digit
from nne.training.errors import require
from nne.training.logging import figures
from nne.training.logging.progress import console
from nne.training.run import load_run

KEYS: dict[str, str | None] = {"run": None}
MOST_DRAWN = 30


@torch.no_grad()
def predict(folder: Path, files: list[Path]) -> None:
    """Print and draw.

    Raises:
        UserError: there is no such run or picture.
    """
    require(bool(files), "give the pictures too, as in predict.py run=PATH digit.png other.jpg")
    digits = torch.stack([read_digit(file) for file in files])
    learner, data, metadata = load_run(folder, LEARNERS, build)
    inputs = data.test_images.shape[-1]
    fits = inputs == digits.shape[1]
    require(
        fits, f"run={folder}: {data.name} has images of {inputs} pixels; pictures are made into 28 x 28, as MNIST's"
    )
    network = learner.as_module()
    tested = network(data.test_images.cpu())
    labels = data.test_labels.cpu()
    right = float((tested.argmax(dim=1) == labels).double().mean())
    scale = temperature(tested, labels)
    confidence = torch.softmax(network(digits) / scale, dim=1)
    console.print(
        f"{metadata.experiment}, {learner.step_name} {metadata.step}, right on {right:.1%} of the test images"
    )
    console.print(table(files, confidence, data.classes))
    path = folder / "figures" / "predictions.png"
    answers = [f"{data.classes[int(row.argmax())]} ({float(row.max()):.0%})" for row in confidence]
    figure = figures.sheet(digits[:MOST_DRAWN].view(-1, 28, 28), answers[:MOST_DRAWN])
    console.print(figures.saved(figure, path, "what the network saw"), soft_wrap=True)


def temperature(logits: Tensor, labels: Tensor) -> float:
    """What to divide logits by so that confidence is as high as accuracy (Guo et al. 2017)."""
    unit = float(logits.std(dim=1).mean()) or 1.0

    def surprise(log_scale: float) -> float:
        return float(cross_entropy(logits.double() / (unit * 2.0**log_scale), labels))

    return unit * float(2.0 ** minimize_scalar(surprise, bounds=(-12, 12), method="bounded").x)


def table(files: list[Path], confidence: Tensor, classes: tuple[int, ...]) -> Table:
    """The two likeliest answers for each picture, ``confidence: [files, C]``."""
    rows = Table("picture", "prediction", "confidence", "runner-up")
    for file, shares in zip(files, confidence, strict=True):
        first, second = shares.topk(2).indices.tolist()
        other = f"{classes[second]} ({shares[second]:.1%})"
        rows.add_row(str(file), str(classes[first]), f"{shares[first]:.1%}", other)
    return rows


def main() -> int:
    """Parse the command line; the exit code is 2 for a user's error."""

    def work(arguments: list[str]) -> None:
        files = [argument for argument in arguments if not argument.startswith("run=")]
        chosen = options([argument for argument in arguments if argument.startswith("run=")], KEYS)
        predict(Path(chosen["run"]), [Path(file) for file in files])

    return script(__doc__ or "", work)
