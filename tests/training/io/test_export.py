"""What is exported answers as the run does: in PyTorch, in onnxruntime, and on a person's own pictures."""

import csv
import subprocess
from pathlib import Path

import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from nne.registry import build, composed
from nne.training import data, device
from nne.training.data.datasets import Dataset
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
    Image.new("RGB", (40, 40), "white").save(tmp_path / "blank.png")
    done = script("predict.py", "run=run", *names, "blank.png", "out=table.csv", "--show", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        expected = network(digits.test_images[[0, 1000, 2000]]).argmax(dim=1).tolist()
    rows = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    assert [(row[1].strip(), int(row[2])) for row in rows[:3]] == list(zip(names, expected, strict=True))
    assert "is empty" in rows[3][5]
    with (tmp_path / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["file"], row["prediction"]) for row in table] == [
        *zip(names, map(str, expected), strict=True),
        ("blank.png", ""),
    ]
    assert table[-1]["note"] == "is empty, or shows something else: there is no digit on it"
    assert (tmp_path / "run" / "figures" / "predictions.png").exists()


@pytest.mark.parametrize(
    ("script_name", "arguments", "message"),
    [
        ("predict.py", ["run=."], "give the pictures too"),
        ("predict.py", ["run=.", "none.png"], "none.png: there is no such file"),
        ("predict.py", ["run=.", "text.png"], "text.png cannot be read as a picture"),
        ("predict.py", ["run=.", "blank.png"], "blank.png is empty, or shows something else: there is no digit on it"),
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
        with pytest.raises(UserError, match=r"is not a network that `nne export` wrote"):
            export.load(path)


def test_a_cap_lets_the_most_active_units_fire() -> None:
    h = torch.rand(7, 30, generator=torch.Generator().manual_seed(0))
    fires = KCap(4)(h)
    assert torch.equal((fires > 0).sum(dim=1), torch.full((7,), 4))
    assert torch.equal(fires.sort(dim=1).values[:, -4:], h.sort(dim=1).values[:, -4:])


def test_layers_that_a_file_cannot_name_are_not_called_something_else() -> None:
    assert export.describe(nn.Sequential(nn.Linear(3, 2), nn.Tanh())) == [["linear", 3, 2, True], ["tanh"]]
    unknown = export.describe(nn.Sequential(nn.Linear(3, 2), nn.GELU()))
    assert unknown == "nn.Sequential of torch.nn.modules.linear.Linear, torch.nn.modules.activation.GELU"
