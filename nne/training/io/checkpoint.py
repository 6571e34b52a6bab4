"""Checkpoints: the learner's tensors and their metadata, in one safetensors file, written whole or not at all.

Loading runs no code from the file. A SHA-256 over tensors and metadata is kept in the header, so a damaged file is
recognised and the one before it is used.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nne.training.errors import UserError
from nne.training.learner import State

log = logging.getLogger(__name__)

FORMAT = 3


@dataclass(frozen=True)
class Metadata:
    """What a checkpoint says beside the learner's state.

    ``overhead``: seconds of pictures and records so far; ``command``: what makes the run again.
    """

    experiment: str
    dataset: str
    step: int
    seconds: float
    config: dict[str, Any]
    backend: str | None = None
    overhead: float = 0.0
    command: str = ""
    format: int = FORMAT


def save(folder: Path, state: State, metadata: Metadata, keep: int) -> Path:
    """Write ``step_<n>.safetensors`` atomically and delete all but the latest ``keep``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{metadata.step:010d}.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    text = json.dumps(asdict(metadata), sort_keys=True)
    header = {"metadata": text, "sha256": _digest(tensors, text)}
    partial = path.with_suffix(".partial")
    try:
        write_tensors(tensors, partial, header)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"checkpoint {path} cannot be written: {error}; earlier checkpoints are intact") from error
    damaged_later = [other for other in saved(folder) if other.name > path.name]
    for old in (*damaged_later, *saved(folder)[: -keep - len(damaged_later)]):
        old.unlink(missing_ok=True)
    return path


def write_tensors(tensors: State, path: Path, header: dict[str, str]) -> None:
    """A safetensors file that others may read as far as the user's umask lets them: safetensors itself says nobody."""
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, header)
    path.chmod(mode)


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step_*.safetensors"))


def load_latest(folder: Path) -> tuple[State, Metadata]:
    """The newest checkpoint that is whole.

    Raises:
        UserError: there is none.
    """
    complaints = []
    for path in reversed(saved(folder)):
        try:
            loaded = load(path)
        except UserError as error:
            log.warning("%s; trying the one before", error)
            complaints.append(str(error))
        else:
            return loaded
    raise UserError(complaints[0] if complaints else f"no checkpoint in {folder}: is it the folder of a run?")


def load(path: Path) -> tuple[State, Metadata]:
    """One checkpoint, verified.

    Raises:
        UserError: it cannot be read, is damaged, or was not written by this project.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (OSError, SafetensorError) as error:
        raise UserError(f"checkpoint {path} is damaged ({error})") from error
    text = header.get("metadata")
    if text is None:
        raise UserError(f"{path} is not a checkpoint of this project")
    if header.get("sha256") != _digest(state, text):
        raise UserError(f"checkpoint {path} is damaged (its SHA-256 differs)")
    fields = json.loads(text)
    version = fields.get("format") if isinstance(fields, dict) else None
    if version != FORMAT:
        raise UserError(f"checkpoint {path} has format {version}, this version reads {FORMAT}")
    try:
        return state, Metadata(**fields)
    except TypeError as error:
        raise UserError(f"checkpoint {path} was not written by this project ({error})") from error


def state_sha256(state: State) -> str:
    """A fingerprint of a learner's state: equal exactly when every bit is."""
    return _digest({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, "")


def _digest(tensors: State, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
