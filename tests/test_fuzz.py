"""Whatever one is given, it is a run, or an image, or a state; or one line that says what is wrong.

A hundred inputs of each kind; `NNE_FUZZ=2000 python -m pytest tests/test_fuzz.py -n0 --hypothesis-show-statistics`
tries as many as docs/faults.md tells of.
"""

import json
import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from nne.registry import CONFIGS, LEARNERS
from nne.training.arguments import normalise_overrides
from nne.training.cli import Job, check, known_keys, register
from nne.training.config import Config
from nne.training.data import idx
from nne.training.data.handwriting import read_digit
from nne.training.errors import UserError
from nne.training.io import checkpoint, export

register(LEARNERS)
EXAMPLES = int(os.environ.get("NNE_FUZZ", 100))
many = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

GROUPS = ["experiment", "data", "network", "features", "learner", "trainer", "hydra/launcher"]
CHOICES = [file.stem for file in CONFIGS.rglob("*.yaml")]
DEFAULTS = {name: default for name, (default, _) in known_keys(LEARNERS).items()}
KEYS = sorted(DEFAULTS)


def answer(work: Callable[..., Any], *given: Any) -> tuple[Any, str]:
    """What it gives, or the line of a user's error; any other exception is a fault."""
    try:
        return work(*given), ""
    except UserError as error:
        return None, str(error)


@st.composite
def misspelt(draw: st.DrawFn) -> str:
    """A key with a letter lost, doubled or replaced."""
    key = draw(st.sampled_from(KEYS))
    at = draw(st.integers(0, len(key) - 1))
    return key[:at] + draw(st.sampled_from(["", key[at] * 2, "x", ".", "=", " ", "ε"])) + key[at + 1 :]


numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["1e3", "0.1", "-0", "1_000", "inf", "nan"]),
)
words = st.one_of(
    st.sampled_from(
        ["null", "true", "False", "auto", "[]", "[1,2]", "{}", "{a:1}", "???", "${seed}", "${nothing}", "''"]
    ),
    st.sampled_from(CHOICES),
    st.text(max_size=12),
    st.sampled_from(["a=b", "'", '"', "[1", "a b", "choice(1,2)", "range(0,3)", "1,2", "glob(*)", "\n", "\\", "~"]),
)
names = st.one_of(st.sampled_from(KEYS), st.sampled_from(GROUPS), misspelt(), st.text(max_size=8))
usual = st.sampled_from([f"{name}={value}" for name, value in DEFAULTS.items() if isinstance(value, int | float)])
overrides = st.one_of(
    usual,
    st.sampled_from([f"experiment={file.stem}" for file in (CONFIGS / "experiment").glob("*.yaml")]),
    st.builds(
        lambda prefix, name, value: f"{prefix}{name}={value}",
        st.sampled_from(["", "", "", "+", "++", "~"]),
        names,
        st.one_of(numbers, words),
    ),
    st.builds(lambda group, choice: f"{group}={choice}", st.sampled_from(GROUPS), st.sampled_from(CHOICES)),
    st.text(max_size=12),
)


@many
@given(st.lists(overrides, min_size=1, max_size=4), st.booleans())
def test_a_command_line_is_a_run_or_one_line(arguments: list[str], multirun: bool) -> None:
    def checked() -> list[Job]:
        return check(normalise_overrides(arguments, CONFIGS), multirun, CONFIGS, LEARNERS)

    jobs, line = answer(checked)
    event("one line" if line else "runs")
    assert bool(line) == (jobs is None)
    assert len(line.splitlines()) <= 1
    assert len(line) < 2000
    assert all(isinstance(job.config, Config) for job in jobs or ())


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with a few of them altered, lost or added; or any bytes at all."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=200))
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        kind = draw(st.sampled_from(["alter", "cut", "lose", "add"]))
        if kind == "alter" and content:
            content[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at:]
        elif kind == "lose":
            del content[at : at + draw(st.integers(1, 20))]
        else:
            content[at:at] = draw(st.binary(min_size=1, max_size=20))
    return bytes(content)


IDX = bytes([0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 4]) + bytes(range(80))


@many
@given(content=damaged(IDX))
def test_an_idx_file_is_images_or_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    images, line = answer(idx.read, path, 3)
    if images is None:
        assert str(path) in line
    else:
        assert images.ndim == 3
        assert images.numel() + 16 == len(content)


def drawn(kind: str, mode: str) -> bytes:
    """A picture of a stroke."""
    picture = Image.new("L", (40, 30), 255)
    picture.paste(0, (10, 5, 14, 25))
    file = BytesIO()
    picture.convert(mode).save(file, kind)
    return file.getvalue()


PICTURES = [
    drawn("PNG", "L"),
    drawn("PNG", "RGBA"),
    drawn("PNG", "P"),
    drawn("JPEG", "L"),
    drawn("GIF", "P"),
    drawn("BMP", "1"),
]


@many
@given(content=st.sampled_from(PICTURES).flatmap(damaged))
def test_a_picture_is_a_digit_or_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "digit.png"
    path.write_bytes(content)
    digit, line = answer(read_digit, path)
    if digit is None:
        assert str(path) in line
    else:
        assert digit.shape == (784,)
        assert float(digit.min()) >= 0
        assert float(digit.max()) <= 1


STATE = {"p": torch.rand(30, dtype=torch.float64), "generation": torch.tensor(7)}
METADATA = checkpoint.Metadata("test", "embedded", 7, 1.5, {"seed": 0})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return checkpoint.save(tmp_path_factory.mktemp("whole"), STATE, METADATA, keep=1).read_bytes()


@many
@given(data=st.data())
def test_a_checkpoint_is_what_was_saved_or_one_line(data: st.DataObject, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "step_0000000007.safetensors"
    path.write_bytes(data.draw(damaged(whole)))
    result, line = answer(checkpoint.load, path)
    if result is None:
        assert str(path) in line
    else:
        assert checkpoint.state_sha256(result[0]) == checkpoint.state_sha256(STATE)
        assert result[1] == METADATA


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
layers = st.lists(
    st.lists(st.one_of(st.sampled_from(["linear", "relu", "k-cap"]), st.integers(-2, 40), anything), max_size=4),
    max_size=4,
)


@many
@given(told=st.one_of(anything, layers))
def test_what_a_file_says_of_itself_is_not_believed(told: Any, tmp_path: Path) -> None:
    """A well-formed file with any metadata, and their right SHA-256; or with any layers."""
    text = json.dumps(told)
    path = tmp_path / "step_0000000007.safetensors"
    path.write_bytes(save(STATE, {"metadata": text, "sha256": checkpoint._digest(STATE, text), "layers": text}))
    for read in (checkpoint.load, export.load):
        result, line = answer(read, path)
        assert str(path) in line or (read is export.load and isinstance(result, torch.nn.Sequential))
