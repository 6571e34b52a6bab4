"""What becomes of people's own pictures: MNIST's test digits made into such pictures, and what networks say to them.

A kind is a function from a digit ``[28, 28]`` in [0, 1], white on black, and a generator, to a picture.
"""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from rich.table import Table
from scipy import ndimage
from torch import nn

from nne.registry import build, composed
from nne.training.data.datasets import Dataset
from nne.training.data.handwriting import read_digit
from nne.training.data.picture import Pixels
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.logging.progress import console, track

Kind = Callable[[Pixels, Generator], Image.Image]
HEIGHT, WIDTH = 300, 400
DIGITS = 200
MODELS = ("adam_features_h1000", "dnn_reward_h1000", "nne_mnist10")


def picture(brightness: Pixels) -> Image.Image:
    """Grey or coloured, from values in [0, 1]."""
    return Image.fromarray((np.clip(brightness, 0, 1) * 255).astype(np.uint8))


def enlarged(digit: Pixels, side: int) -> Pixels:
    """The ink of a digit as a pen would draw it: strokes with crisp edges."""
    large = np.asarray(picture(digit).resize((side, side), Image.Resampling.BICUBIC)) / 255
    ink: Pixels = np.clip((ndimage.gaussian_filter(large, side / 56) - 0.5) * 4 + 0.5, 0, 1)
    return ink


def placed(ink: Pixels, generator: Generator, height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """Somewhere on a sheet."""
    sheet = np.zeros((height, width))
    top, left = generator.integers(0, height - ink.shape[0] + 1), generator.integers(0, width - ink.shape[1] + 1)
    sheet[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return sheet


def drawn(digit: Pixels, generator: Generator, height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """A digit of some size somewhere on a sheet, as ink in [0, 1]."""
    return placed(enlarged(digit, int(generator.integers(150, 250))), generator, height, width)


def light(low: float, high: float, generator: Generator, height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """Paper whose brightness grows from ``low`` to ``high`` in some direction."""
    angle = generator.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    slope = x * np.cos(angle) + y * np.sin(angle)
    paper: Pixels = low + (high - low) * (slope - slope.min()) / np.ptp(slope)
    return paper


def photograph(ink: Pixels, paper: Pixels, generator: Generator, noise: float = 0.02) -> Image.Image:
    """Dark ink on paper, with a camera's noise."""
    return picture(paper * (1 - 0.75 * ink) + generator.normal(0, noise, ink.shape))


def lit(low: float, high: float) -> Kind:
    """A photograph of paper in some light."""
    return lambda digit, generator: photograph(drawn(digit, generator), light(low, high, generator), generator)


def as_it_is(digit: Pixels, generator: Generator) -> Image.Image:
    return picture(digit)


def small(digit: Pixels, generator: Generator) -> Image.Image:
    side = int(generator.integers(12, 18))
    shrunk = np.asarray(picture(digit).resize((side, side), Image.Resampling.LANCZOS)) / 255
    return picture(placed(shrunk, generator, 28, 28))


def off_centre(digit: Pixels, generator: Generator) -> Image.Image:
    return picture(ndimage.shift(digit, generator.integers(-4, 5, 2), order=0))


def shrunk_photograph(digit: Pixels, generator: Generator) -> Image.Image:
    whole = photograph(drawn(digit, generator, 300, 300), light(0.7, 0.9, generator, 300, 300), generator)
    return whole.resize((28, 28), Image.Resampling.LANCZOS)


def thinned(mask: np.ndarray) -> np.ndarray:
    """Strokes of one pixel, by thinning from all sides in turn."""
    corner = np.array([[0, 0, 0], [-1, 1, -1], [1, 1, 1]]), np.array([[-1, 0, 0], [1, 1, 0], [-1, 1, -1]])
    before = None
    while before is None or (before != mask).any():
        before = mask
        for turn in range(4):
            for pattern in corner:
                turned = np.rot90(pattern, turn)
                mask = mask & ~ndimage.binary_hit_or_miss(mask, turned == 1, turned == 0)
    return mask


def pencil(digit: Pixels, generator: Generator) -> Image.Image:
    return picture(1.0 - thinned(enlarged(digit, 28) > 0.4))


def thin_pen(digit: Pixels, generator: Generator) -> Image.Image:
    line = ndimage.binary_dilation(thinned(enlarged(digit, 240) > 0.5), iterations=2).astype(float)
    ink = np.clip(1.3 * ndimage.gaussian_filter(line, 1), 0, 1)
    return photograph(placed(ink, generator), light(0.7, 0.9, generator), generator)


def marker(digit: Pixels, generator: Generator) -> Image.Image:
    return picture(1 - 0.9 * placed(ndimage.grey_dilation(enlarged(digit, 220), size=(13, 13)), generator))


def desk(digit: Pixels, generator: Generator) -> Image.Image:
    ink = placed(enlarged(digit, int(generator.integers(140, 240))), generator, 260, 320)
    scene = 0.35 + 0.3 * ndimage.gaussian_filter(generator.normal(0, 1, (400, 500)), (1, 30))
    top, left = generator.integers(20, 120), generator.integers(20, 160)
    scene[top : top + 260, left : left + 320] = light(0.75, 0.9, generator, 260, 320) * (1 - 0.75 * ink)
    whole = picture(scene + generator.normal(0, 0.02, scene.shape))
    return whole.rotate(float(generator.uniform(-6, 6)), fillcolor=90)


def frame(digit: Pixels, generator: Generator) -> Image.Image:
    sheet, edge = 0.95 * (1 - 0.85 * drawn(digit, generator)), int(generator.integers(3, 12))
    inside = np.zeros_like(sheet)
    inside[edge:-edge, edge:-edge] = 1
    return picture(np.where(inside == 1, sheet, 0.1))


def lined(digit: Pixels, generator: Generator) -> Image.Image:
    apart = int(generator.integers(22, 40))
    paper = np.full((HEIGHT, WIDTH, 3), 0.93)
    for y in range(int(generator.integers(3, apart)), HEIGHT - 1, apart):
        paper[y : y + 2] = (0.6, 0.7, 0.9)
    ink = drawn(digit, generator)[..., None]
    return picture(paper * (1 - 0.8 * ink) + generator.normal(0, 0.015, paper.shape))


def squared(digit: Pixels, generator: Generator) -> Image.Image:
    apart = int(generator.integers(18, 30))
    paper = np.full((HEIGHT, WIDTH), 0.95)
    paper[::apart], paper[:, ::apart] = 0.75, 0.75
    return photograph(drawn(digit, generator), paper, generator, 0.01)


def transparent(ink: int) -> Kind:
    """Ink of some grey on nothing."""

    def kind(digit: Pixels, generator: Generator) -> Image.Image:
        alpha = (255 * drawn(digit, generator)).astype(np.uint8)
        return Image.fromarray(np.dstack([np.full((*alpha.shape, 3), ink, np.uint8), alpha]))

    return kind


def coloured(ink: tuple[float, ...], paper: tuple[float, ...]) -> Kind:
    """Coloured ink on coloured paper, in mild light."""

    def kind(digit: Pixels, generator: Generator) -> Image.Image:
        mask = drawn(digit, generator)[..., None]
        sheet = light(0.85, 1.0, generator)[..., None] * np.array(paper)
        return picture(sheet * (1 - mask) + np.array(ink) * mask + generator.normal(0, 0.02, sheet.shape))

    return kind


def blackboard(digit: Pixels, generator: Generator) -> Image.Image:
    board, chalk = light(0.1, 0.25, generator), drawn(digit, generator)
    return picture(board + (0.9 - board) * 0.85 * chalk + generator.normal(0, 0.02, board.shape))


def shadow(digit: Pixels, generator: Generator) -> Image.Image:
    angle, place = generator.uniform(0, 2 * np.pi), generator.uniform(-60, 60)
    y, x = np.mgrid[-HEIGHT / 2 : HEIGHT / 2, -WIDTH / 2 : WIDTH / 2]
    dark = ndimage.gaussian_filter((x * np.cos(angle) + y * np.sin(angle) > place).astype(float), 25)
    return photograph(drawn(digit, generator), 0.85 * (1 - 0.35 * dark), generator)


def compressed(digit: Pixels, generator: Generator) -> Image.Image:
    written = BytesIO()
    lit(0.7, 0.9)(digit, generator).save(written, "JPEG", quality=30)
    return Image.open(written)


def cropped(digit: Pixels, generator: Generator) -> Image.Image:
    rows, columns = np.nonzero((digit > 0.3).any(axis=1))[0], np.nonzero((digit > 0.3).any(axis=0))[0]
    cut = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = cut.shape
    return picture(1 - np.asarray(picture(cut).resize((8 * width, 8 * height), Image.Resampling.BICUBIC)) / 255)


def eight_by_eight(digit: Pixels, generator: Generator) -> Image.Image:
    return picture(digit).resize((8, 8), Image.Resampling.BOX)


KINDS: dict[str, Kind] = {
    "28 x 28, as it is": as_it_is,
    "28 x 28, dark on light": lambda digit, _: picture(1 - digit),
    "28 x 28, small": small,
    "28 x 28, off-centre": off_centre,
    "28 x 28, a shrunk photo": shrunk_photograph,
    "28 x 28, pencil of one pixel": pencil,
    "8 x 8": eight_by_eight,
    "photo, mild light": lit(0.7, 0.9),
    "photo, strong gradient": lit(0.35, 0.95),
    "photo, dim": lit(0.35, 0.45),
    "photo with a shadow": shadow,
    "photo, strongly compressed": compressed,
    "desk round the paper": desk,
    "frame round the picture": frame,
    "lined paper": lined,
    "squared paper": squared,
    "white ink, transparent": transparent(255),
    "black ink, transparent": transparent(0),
    "blue ink": coloured((0.15, 0.2, 0.7), (0.95, 0.95, 0.95)),
    "red ink on brown paper": coloured((0.7, 0.1, 0.1), (0.76, 0.6, 0.42)),
    "blackboard": blackboard,
    "thin pen": thin_pen,
    "thick marker": marker,
    "cut out closely": cropped,
}


def answers(kind: Kind, digits: Pixels, folder: Path) -> Iterator[torch.Tensor | None]:
    """What ``read_digit`` makes of each of some digits ``[count, 28, 28]``; None where it refuses."""
    generator, path = np.random.default_rng(0), folder / "digit.png"
    for digit in digits:
        kind(digit, generator).save(path)
        try:
            yield read_digit(path)
        except UserError:
            yield None


def shares(network: nn.Module, seen: list[torch.Tensor | None], labels: torch.Tensor) -> float:
    """The share of pictures that a network is right on; one that was refused counts as wrong."""
    read = torch.stack([torch.zeros(28 * 28) if digit is None else digit for digit in seen])
    with torch.no_grad():
        right = network(read).argmax(dim=1) == labels
    return float((right & torch.tensor([digit is not None for digit in seen])).double().mean())


def handwriting(dataset: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Every kind of picture under three networks, beside the original pixels of the same digits."""
    networks = {}
    for name in MODELS:
        learner = build(composed(f"experiment={name}"), dataset, compute)
        steps = composed(f"experiment={name}").trainer.max_steps or 0
        for _ in track(range(steps), name, steps):
            if learner.reason_to_stop():
                break
            learner.step()
        networks[name] = learner.as_module()
    chosen = torch.randperm(len(dataset.test_labels), generator=torch.Generator().manual_seed(0))[:DIGITS]
    images, labels = dataset.test_images[chosen].cpu(), dataset.test_labels[chosen].cpu()
    digits, rows = images.view(-1, 28, 28).double().numpy(), list[dict[str, object]]()
    originals = {name: shares(network, list(images), labels) for name, network in networks.items()}
    table = Table("pictures", *MODELS, "refused", title=f"share right of {DIGITS}, beside that of the original pixels")
    table.add_row("the original pixels", *(f"{value:.3f}" for value in originals.values()), "")
    with TemporaryDirectory() as folder:
        for kind, make in track(KINDS.items(), "kinds of pictures", len(KINDS)):
            seen = list(answers(make, digits, Path(folder)))
            right = {name: shares(network, seen, labels) for name, network in networks.items()}
            refused = sum(digit is None for digit in seen)
            rows.append({"pictures": kind, **right, "refused": refused})
            shown = (f"{right[name]:.3f} ({right[name] / originals[name]:.2f})" for name in MODELS)
            table.add_row(kind, *shown, str(refused))
    console.print(table)
    return [{"pictures": "the original pixels", **originals, "refused": 0}, *rows]
