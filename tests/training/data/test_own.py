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
    with pytest.raises(UserError, match=r"data\.test_share=0\.2 leaves 1 of 2 classes to learn: hold out fewer"):
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
