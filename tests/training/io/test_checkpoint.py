"""Checkpoints: exact, atomic, verified, and never a program."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from nne.training.errors import UserError
from nne.training.io.checkpoint import Metadata, load, load_latest, save, saved, state_sha256

METADATA = Metadata("test", "embedded", 7, 1.5, {"seed": 0, "learner": {"genes": 3}})
STATE = {"p": torch.rand(500, dtype=torch.float64), "generation": torch.tensor(7)}


def test_round_trip_is_exact(tmp_path: Path) -> None:
    state, metadata = load(save(tmp_path, STATE, METADATA, keep=2))
    assert metadata == METADATA
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[k], STATE[k]) and state[k].dtype == STATE[k].dtype for k in STATE)
    assert state_sha256(state) == state_sha256(STATE)


def test_one_bit_changes_the_fingerprint() -> None:
    p = STATE["p"].clone()
    p[3] = torch.nextafter(p[3], torch.tensor(2.0, dtype=torch.float64))
    assert state_sha256({**STATE, "p": p}) != state_sha256(STATE)


def test_the_latest_are_kept(tmp_path: Path) -> None:
    for step in (1, 20, 300):
        save(tmp_path, STATE, Metadata("test", "embedded", step, 0.0, {}), keep=2)
    assert [path.name for path in saved(tmp_path)] == ["step_0000000020.safetensors", "step_0000000300.safetensors"]
    assert sorted(tmp_path.iterdir()) == saved(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_file_may_be_read_by_whom_the_umask_lets(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        assert save(tmp_path, STATE, METADATA, keep=1).stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_damage_anywhere_is_noticed_and_the_one_before_is_used(tmp_path: Path) -> None:
    save(tmp_path, STATE, Metadata("test", "embedded", 1, 0.0, {}), keep=2)
    path = save(tmp_path, STATE, METADATA, keep=2)
    content = path.read_bytes()
    damaged = [content[:cut] for cut in range(0, len(content), 997)]
    damaged += [content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :] for at in range(0, len(content), 211)]
    for broken in damaged:
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"is damaged|is not a checkpoint|has format"):
            load(path)
        assert load_latest(tmp_path)[1].step == 1


def test_what_was_just_written_is_kept_rather_than_damage_that_came_later(tmp_path: Path) -> None:
    for step in (50, 100):
        path = save(tmp_path, STATE, Metadata("test", "embedded", step, 0.0, {}), keep=2)
    path.write_bytes(b"damaged")
    written = save(tmp_path, STATE, Metadata("test", "embedded", 60, 0.0, {}), keep=1)
    assert saved(tmp_path) == [written]


def test_nothing_whole_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint in"):
        load_latest(tmp_path)
    (tmp_path / "step_0000000001.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match="is damaged"):
        load_latest(tmp_path)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "step_0000000001.safetensors"
    save_file(STATE, path)
    with pytest.raises(UserError, match="is not a checkpoint of this project"):
        load(path)


class Hostile:
    """Creates a file when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_a_hostile_pickle_is_refused_unexecuted(tmp_path: Path) -> None:
    trace, path = tmp_path / "executed", tmp_path / "step_0000000001.safetensors"
    path.write_bytes(pickle.dumps(Hostile(trace)))
    with pytest.raises(UserError, match="is damaged"):
        load(path)
    assert not trace.exists()


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, STATE, METADATA, keep=2)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nne.training.io.checkpoint.save_file", full)
    with pytest.raises(UserError, match="No space left on device; earlier checkpoints are intact"):
        save(tmp_path, STATE, Metadata("test", "embedded", 8, 0.0, {}), keep=2)
    assert load_latest(tmp_path)[1].step == 7
