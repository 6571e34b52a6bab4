"""People's own pictures: recognised as well as the original pixels, or refused with the reason."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image
from torch import nn

from benchmarks.handwriting import KINDS, answers, enlarged, light, picture, shares
from nne.commands.predict import pictures
from nne.registry import build, composed
from nne.training import data
from nne.training.data.datasets import Dataset
from nne.training.data.handwriting import read_digit
from nne.training.device import Compute
from nne.training.errors import UserError

COUNT = 12
WORST = {"8 x 8": 0.6}
QUICK = ("28 x 28, as it is", "8 x 8", "photo with a shadow", "squared paper", "white ink, transparent", "thin pen")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Trained on 2,000 digits that none of the pictures is made of."""
    config = composed("experiment=adam_features_h1000", "data=embedded", "learner.batch=50")
    many = data.load(config.images, config.seed)
    learner = build(config, many, Compute(torch.device("cpu"), torch.float32))
    for _ in range(20):
        learner.step()
    return learner.as_module()


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in KINDS]
)
def test_pictures_are_read_as_well_as_the_original_pixels(
    kind: str, network: nn.Module, digits: Dataset, tmp_path: Path
) -> None:
    chosen = torch.arange(7, 3000, 3000 // COUNT)[:COUNT]
    images, labels = digits.test_images[chosen], digits.test_labels[chosen]
    seen = list(answers(KINDS[kind], images.view(-1, 28, 28).double().numpy(), tmp_path))
    original = shares(network, list(images), labels)
    assert original > 0.75
    assert shares(network, seen, labels) >= WORST.get(kind, 0.85) * original - 1 / COUNT


def refusal(image: Image.Image, folder: Path) -> str:
    image.save(folder / "picture.png")
    with pytest.raises(UserError) as refused:
        read_digit(folder / "picture.png")
    return str(refused.value).removeprefix(f"{folder / 'picture.png'} ")


@pytest.mark.parametrize("seed", range(3))
def test_an_empty_page_is_refused(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    lined = np.full((300, 400), 0.93)
    lined[10::31] = lined[11::31] = 0.7
    framed = np.full((300, 400), 0.1)
    framed[8:-8, 8:-8] = 0.95
    for page in (light(0.3, 0.9, generator), lined, framed, np.full((28, 28), 0.5), np.full((300, 400), 1.0)):
        noisy = page + generator.normal(0, 0.015, page.shape)
        assert refusal(picture(noisy), tmp_path) == "is empty, or shows something else: there is no digit on it"
    assert "is empty" in refusal(Image.new("RGBA", (50, 50)), tmp_path)


def test_two_digits_are_refused(digits: Dataset, tmp_path: Path) -> None:
    for i in range(0, 3000, 500):
        page = np.zeros((300, 400))
        for left, which in ((20, i), (220, i + 250)):
            page[80:230, left : left + 150] = enlarged(digits.test_images[which].view(28, 28).double().numpy(), 150)
        assert refusal(picture(1 - page), tmp_path).startswith("has 2 drawings side by side")


def test_what_is_no_drawing_is_refused(tmp_path: Path) -> None:
    with cbook.get_sample_data("grace_hopper.jpg") as file:  # a portrait that matplotlib ships
        portrait = Image.open(file).convert("RGB")
    noise = np.random.default_rng(0).random((200, 200))
    for image in (portrait, picture(noise), picture(np.kron(np.indices((9, 9)).sum(0) % 2, np.ones((20, 20))))):
        assert refusal(image, tmp_path)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "I;16", "LA"])
def test_every_kind_of_file_is_read(mode: str, tmp_path: Path) -> None:
    ink = np.zeros((90, 60), dtype=np.uint8)
    ink[20:70, 25:32] = 255
    deep = mode == "I;16"
    image = Image.fromarray(ink.astype(np.uint16) * 256) if deep else Image.fromarray(ink).convert(mode)
    image.save(tmp_path / "one.png")
    read = read_digit(tmp_path / "one.png").view(28, 28)
    rows, columns = read.nonzero(as_tuple=True)
    assert int(rows.max() - rows.min()) + 1 == 20
    assert float((read.sum(dim=0) @ torch.arange(28.0)) / read.sum()) == pytest.approx(14, abs=0.51)
    assert float(read.max()) == pytest.approx(1, abs=0.02)
    assert int(columns.max() - columns.min()) + 1 in (3, 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 3), (2000, 3), (41, 41), (120, 45)])
@pytest.mark.filterwarnings("error")
def test_a_picture_of_any_size_is_a_digit_or_refused(size: tuple[int, int], tmp_path: Path) -> None:
    height, width = size
    line, half = np.ones(size), np.ones(size)
    line[height // 4 : 3 * height // 4 + 1, width // 2], half[:, : max(width // 2, 1)] = 0, 0
    for page in (np.ones(size), line, half, np.random.default_rng(0).random(size)):
        picture(page).save(tmp_path / "picture.png")
        with suppress(UserError):
            assert read_digit(tmp_path / "picture.png").shape == (784,)


def test_a_large_photograph_is_read(tmp_path: Path) -> None:
    page = Image.new("L", (12_000, 9_000), 230)  # 108 megapixels
    page.paste(30, (5000, 2000, 5600, 7000))
    page.save(tmp_path / "large.jpg")
    assert read_digit(tmp_path / "large.jpg").view(28, 28)[:, 14].sum() > 15


def test_folders_and_patterns_name_their_pictures(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt", "c.jpeg"):
        (tmp_path / name).touch()
    assert [path.name for path in pictures([str(tmp_path)])] == ["a.JPG", "b.png", "c.jpeg"]
    asked = pictures([str(tmp_path / "*.png"), str(tmp_path / "b.png"), "nowhere.png"])
    assert [path.name for path in asked] == ["b.png", "nowhere.png"]
    with pytest.raises(UserError, match="there is no picture in this folder"):
        pictures([str(tmp_path.parent / "..")])
