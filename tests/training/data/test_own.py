"""Data of one's own: what can be read is, and what cannot is one line."""

from pathlib import Path

import numpy as np
import pytest

from nne.training.data.own import Own, from_arrays, from_folder
from nne.training.errors import UserError


def arrays(tmp_path: Path, **given: object) -> Own:
    np.savez(tmp_path / "own.npz", **given)  # type: ignore[arg-type]
    return from_arrays(tmp_path / "own.npz", 0.2, seed=0)


def test_labels_may_be_a_column(tmp_path: Path) -> None:
    images, labels = np.zeros((6, 4, 4)), np.array([[0], [1], [0], [1], [0], [1]])
    found = arrays(tmp_path, images=images, labels=labels, test_images=images, test_labels=labels)
    assert found.test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    with pytest.raises(UserError, match=r"labels must be \[S\], got \[6, 2\]"):
        arrays(tmp_path, images=images, labels=np.zeros((6, 2)))


def test_data_that_cannot_be_read_or_learnt_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 images are too few to hold some out for a test"):
        arrays(tmp_path, images=np.zeros((2, 4, 4)), labels=np.array([0, 1]))
    path = tmp_path / "own.npz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"cannot be read .*; give an \.npz file of images and labels"):
        from_arrays(path, 0.2, seed=0)
    np.save(tmp_path / "own.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"cannot be read .*; give an \.npz file of images and labels"):
        from_arrays(tmp_path / "own.npy", 0.2, seed=0)
    (tmp_path / "pictures" / "one" / "within").mkdir(parents=True)
    with pytest.raises(UserError, match="within is not a picture that can be read"):
        from_folder(tmp_path / "pictures", 0.2, seed=0)


def test_colours_may_come_first_or_last(tmp_path: Path) -> None:
    pixels, labels = np.random.default_rng(0).random((10, 3, 6, 8)), np.arange(10) % 2
    first = arrays(tmp_path, images=pixels, labels=labels)
    last = arrays(tmp_path, images=pixels.transpose(0, 2, 3, 1), labels=labels)
    assert first.train.images.shape[1] == 48
    np.testing.assert_allclose(first.train.images, last.train.images, rtol=1e-6)


def test_images_of_floats_are_not_bytes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="images of floats must be from 0 to 1, got 255: divide by 255, or give whole"):
        arrays(tmp_path, images=np.full((10, 4, 4), 255.0), labels=np.arange(10) % 2)


def test_images_to_test_on_come_with_labels(tmp_path: Path) -> None:
    images = np.zeros((10, 4, 4))
    with pytest.raises(UserError, match=r"must hold images and labels and .*; it lacks test_labels"):
        arrays(tmp_path, images=images, labels=np.arange(10) % 2, test_images=images)


def test_of_every_class_an_image_is_learnt(tmp_path: Path) -> None:
    labels = np.array([0] * 9 + [1])
    np.savez(tmp_path / "rare.npz", images=np.zeros((10, 4, 4)), labels=labels)
    found = [from_arrays(tmp_path / "rare.npz", 0.3, seed) for seed in range(10)]
    assert all(set(own.train.labels.tolist()) == {0, 1} for own in found)
    assert {len(own.test.labels) for own in found} == {2, 3}
