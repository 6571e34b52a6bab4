"""Predictions for your own digits: `python scripts/predict.py run=PATH digit.png folder/ 'scans/*.jpg' [out=FILE.csv]`.

Pictures may be of any size, dark on light or light on dark; each digit is found, centred and scaled as MNIST's are.
Prints for each the prediction and its confidence, which is calibrated on the test images: of all predictions made at
80 %, about 80 % are right (for pictures that are like MNIST's). What holds no digit, or several, gets a note that says
so. `out=FILE.csv` writes a table (file, prediction, confidence, note), `--show` draws what the network saw beside each
picture.
"""

import csv
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import torch
from rich.table import Table
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from nne.registry import LEARNERS, build
from nne.training.arguments import options, script
from nne.training.data.handwriting import SIDE, read_digit
from nne.training.data.picture import read
from nne.training.errors import UserError, require
from nne.training.logging import figures
from nne.training.logging.progress import console, track
from nne.training.run import load_run

KEYS: dict[str, str | None] = {"run": None, "out": ""}
SHOW = "--show"
MOST_DRAWN = 30
AT_ONCE = 500  # images, whose hidden layers are all there at once
KINDS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".avif"}


@dataclass(frozen=True)
class Answer:
    """To one picture: the two likeliest classes with their probabilities, or why there is none."""

    file: Path
    first: tuple[int, float] | None = None
    second: tuple[int, float] | None = None
    note: str = ""


def predict(folder: Path, patterns: list[str], out: Path | None = None, show: bool = False) -> None:
    """Print, and write what was asked for.

    Raises:
        UserError: there is no such run, no picture, or no digit on any.
    """
    files = pictures(patterns)
    digits, notes = read_all(files)
    if not digits:
        several = f"no digit on any of these {len(files)} pictures; the first: " if len(files) > 1 else ""
        raise UserError(f"{several}{files[0]}{notes[files[0]]}")
    learner, data, metadata = load_run(folder, LEARNERS, build)
    inputs = data.test_images.shape[-1]
    fits = f"run={folder}: {data.name} has images of {inputs} pixels; pictures are made into 28 x 28, as MNIST's"
    require(inputs == SIDE**2, fits)
    network = learner.as_module()
    with torch.no_grad():
        tested = torch.cat([network(some) for some in torch.split(data.test_images.cpu(), AT_ONCE)])
    labels = data.test_labels.cpu()
    answers = answers_to(files, digits, notes, network, temperature(tested, labels), data.classes)
    right = float((tested.argmax(dim=1) == labels).double().mean())
    done = f"{learner.step_name} {metadata.step}"
    console.print(f"{metadata.experiment}, {done}, right on {right:.1%} of the test images")
    console.print(table(answers))
    if out:
        write(answers, out)
        console.print(f"the table is in {out}", soft_wrap=True)
    if show:
        drawn = list(digits)[:MOST_DRAWN]
        pairs = [(figures.thumbnail(read(file)), digits[file].view(SIDE, SIDE)) for file in drawn]
        titles = {answer.file: in_words(answer) for answer in answers}
        figure = figures.side_by_side(pairs, [titles[file] for file in drawn])
        path = folder / "figures" / "predictions.png"
        console.print(figures.saved(figure, path, "what the network saw"), soft_wrap=True)


def pictures(patterns: list[str]) -> list[Path]:
    """The files that names, folders and patterns stand for, each once."""
    require(bool(patterns), "give the pictures too, as in predict.py run=PATH digit.png folder/ 'scans/*.jpg'")
    files: dict[Path, None] = {}
    for pattern in patterns:
        place = Path(pattern).expanduser()
        if place.is_dir():
            matching = sorted(path for path in place.iterdir() if path.suffix.lower() in KINDS)
            require(bool(matching), f"{pattern}: there is no picture in this folder")
        else:
            matching = [place] if place.exists() else sorted(map(Path, glob(str(place))))  # noqa: PTH207  # from the root, too
            matching = matching or [place]  # which gets a line of its own
        files |= dict.fromkeys(matching)
    return list(files)


def read_all(files: list[Path]) -> tuple[dict[Path, Tensor], dict[Path, str]]:
    """The digits ``[784]`` by their files, and why the others have none."""
    digits, notes = dict[Path, Tensor](), dict[Path, str]()
    for file in track(files, "pictures", len(files)):
        try:
            digits[file] = read_digit(file)
        except UserError as error:
            notes[file] = str(error).removeprefix(str(file))
    return digits, notes


@torch.no_grad()
def answers_to(
    files: list[Path],
    digits: dict[Path, Tensor],
    notes: dict[Path, str],
    network: torch.nn.Module,
    scale: float,
    classes: tuple[int, ...],
) -> list[Answer]:
    """What a network says to each digit; its logits are divided by ``scale``."""
    answers = {file: Answer(file, note=note.lstrip(": ")) for file, note in notes.items()}
    confidence = torch.softmax(network(torch.stack(list(digits.values()))) / scale, dim=1)
    for file, shares in zip(digits, confidence, strict=True):
        first, second = shares.topk(2).indices.tolist()
        pair = ((classes[first], float(shares[first])), (classes[second], float(shares[second])))
        answers[file] = Answer(file, *pair)
    return [answers[file] for file in files]


def temperature(logits: Tensor, labels: Tensor) -> float:
    """What to divide logits by so that confidence is as high as accuracy (Guo et al. 2017)."""
    unit = float(logits.std(dim=1).mean()) or 1.0

    def surprise(log_scale: float) -> float:
        return float(cross_entropy(logits.double() / (unit * 2.0**log_scale), labels))

    return unit * float(2.0 ** minimize_scalar(surprise, bounds=(-12, 12), method="bounded").x)


def in_words(answer: Answer) -> str:
    """``7 (98%)``."""
    return f"{answer.first[0]} ({answer.first[1]:.0%})" if answer.first else answer.note


def table(answers: list[Answer]) -> Table:
    """A row a picture."""
    rows = Table("picture", "prediction", "confidence", "runner-up", "note")
    for answer in answers:
        first = (str(answer.first[0]), f"{answer.first[1]:.1%}") if answer.first else ("", "")
        second = f"{answer.second[0]} ({answer.second[1]:.1%})" if answer.second else ""
        rows.add_row(str(answer.file), *first, second, answer.note)
    return rows


def write(answers: list[Answer], out: Path) -> None:
    """The same as a table for other programs.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with out.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "prediction", "confidence", "note"])
            for answer in answers:
                shown = [answer.first[0], f"{answer.first[1]:.4f}"] if answer.first else ["", ""]
                rows.writerow([answer.file, *shown, answer.note])
    except OSError as error:
        raise UserError(f"out={out} cannot be written ({error.strerror})") from error


def main() -> int:
    """Parse the command line; the exit code is 2 for a user's error."""

    def work(arguments: list[str]) -> None:
        given = [argument for argument in arguments if argument.split("=")[0] in KEYS]
        patterns = [argument for argument in arguments if argument not in given and argument != SHOW]
        chosen = options(given, KEYS)
        out = Path(chosen["out"]) if chosen["out"] else None
        predict(Path(chosen["run"]), patterns, out, SHOW in arguments)

    return script(__doc__ or "", work)
