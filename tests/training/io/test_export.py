"""What is exported answers as the run does: in PyTorch, in onnxruntime, and on a person's own pictures."""

import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image, ImageOps

from nne.registry import build, composed
from nne.training import data, device
from nne.training.data.datasets import Dataset
from nne.training.data.handwriting import read_digit
from nne.training.errors import UserError
from nne.training.io import export
from nne.training.models.plain import KCap
from tests.conftest import SMALL, Command, call

TINY = ["data=embedded", "data.per_class=20"]
HIDDEN = ["network.hidden=[40,30]", "network.cap=10"]
RUNS = {
    "nne_mnist10": [*SMALL, *HIDDEN],
    "sgd_mnist10": [*TINY, *HIDDEN],
    "dnn_h1000": [*TINY, "features.width=5000"],
    "dnn_kcap": [*TINY, "features.width=300", "features.cap=20", "learner.path=primal", "learner.average=true"],
    "adam_features_h1000": [*TINY, "features.width=100"],
    "nne_cnn": [*TINY, "learner.genes=100", "learner.population=10", "learner.stop_at_fixed=null"],
}


def script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call(name.removesuffix(".py"), *arguments, cwd=cwd)


@pytest.mark.parametrize("experiment", RUNS)
def test_the_exported_network_answers_as_the_run_does(experiment: str, tmp_path: Path) -> None:
    config = composed(f"experiment={experiment}", *RUNS[experiment])
    compute = device.choose("cpu", config.precision)
    digits = data.load(config.data, config.seed)
    learner = build(config, digits, compute)
    for _ in range(3):
        learner.step()
    weights, graph = export.save(learner.as_module(), 784, tmp_path / "export", {"classes": digits.classes})
    images, labels = digits.test_images, digits.test_labels
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    result = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    if experiment == "nne_cnn":
        with pytest.raises(UserError, match=r"holds the state_dict of nne.training.models.cnn.SmallCNN"):
            export.load(weights)
    else:
        with torch.no_grad():
            torch.testing.assert_close(export.load(weights)(images), result, rtol=1e-4, atol=1e-4)
    right = float((result.argmax(dim=1) == labels).double().mean())
    measured = learner.evaluate(images, labels)
    accuracy = measured["test/modal"] if experiment.startswith("nne") else measured["test/accuracy"]
    assert right == pytest.approx(accuracy, abs=0.001)  # an image on the edge may fall either way


def test_the_command_exports_and_predicts(train: Command, tmp_path: Path, digits: Dataset) -> None:
    assert train("experiment=nne_mnist10", *SMALL, "trainer.max_steps=3", "run_dir=run").returncode == 0
    done = script("export.py", "run=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "run" / "export").iterdir()} == {export.WEIGHTS, export.ONNX}

    network = export.load(tmp_path / "run" / "export" / export.WEIGHTS)
    names = []
    for i in (0, 1000, 2000):
        names.append(f"{i}.png")
        Image.fromarray((digits.test_images[i].view(28, 28) * 255).byte().numpy()).save(tmp_path / names[-1])
    done = script("predict.py", "run=run", *names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = network(digits.test_images[[0, 1000, 2000]]).argmax(dim=1).tolist()
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    assert [(row[1].strip(), int(row[2])) for row in rows] == list(zip(names, expected, strict=True))
    assert (tmp_path / "run" / "figures" / "predictions.png").exists()


def test_photographs_of_digits_become_what_mnist_has(digits: Dataset, tmp_path: Path) -> None:
    """Enlarged, dark on noisy grey paper, anywhere on it: within a little of the original pixels."""
    noise, differences = np.random.default_rng(0), []
    for i in range(0, 3000, 100):
        original = digits.test_images[i].view(28, 28)
        large = Image.fromarray((original * 255).byte().numpy()).resize((224, 224), Image.Resampling.BICUBIC)
        paper = Image.new("L", (400, 300), 0)
        paper.paste(large, (int(noise.integers(0, 170)), int(noise.integers(0, 70))))
        photograph = 40 + 0.7 * np.asarray(ImageOps.invert(paper)) + noise.normal(0, 5, (300, 400))
        Image.fromarray(photograph.clip(0, 255).astype("uint8")).save(tmp_path / "digit.png")
        read = read_digit(tmp_path / "digit.png").view(28, 28)
        differences.append(float((read - original).abs().mean()))
        assert float(torch.corrcoef(torch.stack([read.flatten(), original.flatten()]))[0, 1]) > 0.8
    assert np.mean(differences) < 0.04  # a shift by one pixel is 0.06


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "I;16", "LA"])
def test_every_kind_of_picture_is_read(mode: str, tmp_path: Path) -> None:
    ink = np.zeros((90, 60), dtype=np.uint8)
    ink[20:70, 25:32] = 255
    deep = mode == "I;16"
    picture = Image.fromarray(ink.astype(np.uint16) * 256) if deep else Image.fromarray(ink).convert(mode)
    picture.save(tmp_path / "one.png")
    read = read_digit(tmp_path / "one.png").view(28, 28)
    rows, columns = read.nonzero(as_tuple=True)
    assert int(rows.max() - rows.min()) + 1 == 20
    assert float((read.sum(dim=0) @ torch.arange(28.0)) / read.sum()) == pytest.approx(14, abs=0.51)
    assert float(read.max()) == pytest.approx(1, abs=0.01)
    assert int(columns.max() - columns.min()) + 1 == 3


@pytest.mark.parametrize(
    ("script_name", "arguments", "message"),
    [
        ("predict.py", ["run=."], "give the pictures too"),
        ("predict.py", ["run=.", "none.png"], "none.png: there is no such file"),
        ("predict.py", ["run=.", "text.png"], "text.png cannot be read as a picture"),
        ("predict.py", ["run=.", "blank.png"], "blank.png is all one shade: there is no digit on it"),
        ("predict.py", ["blank.png"], "run must be given"),
        ("export.py", ["run=nowhere"], "run=nowhere: there is no such folder"),
    ],
)
def test_a_mistake_is_one_line(script_name: str, arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (40, 40), "white").save(tmp_path / "blank.png")
    done = script(script_name, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_what_is_no_network_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / export.WEIGHTS
    for content in (b"", b"junk", b"\x80\x04\x95pickle"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"is not a network that scripts/export\.py wrote"):
            export.load(path)


def test_a_cap_lets_the_most_active_units_fire() -> None:
    h = torch.rand(7, 30, generator=torch.Generator().manual_seed(0))
    fires = KCap(4)(h)
    assert torch.equal((fires > 0).sum(dim=1), torch.full((7,), 4))
    assert torch.equal(fires.sort(dim=1).values[:, -4:], h.sort(dim=1).values[:, -4:])
