"""Any ``torch.nn.Module``: its population against one module at a time in float64, inside the learner, and examples."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nne import ModulePopulation
from nne.learners.network import NetworkEvolution
from nne.registry import build, composed
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError
from nne.training.io.checkpoint import state_sha256
from nne.training.models.cnn import SmallCNN
from nne.training.models.network import load_module
from nne.training.parts import NetworkConfig
from tests.conftest import REPOSITORY, SMALL, Command, altered, environment, summary

GENES = 80


def one_by_one(module: nn.Module, population: ModulePopulation, x: Tensor, inputs: Tensor) -> Tensor:
    """Outputs ``[N, B, C]`` of each genotype's module, with its parameters written into it, in float64."""
    result = []
    for weights in x.double() @ population.rows.dense().T:
        own, start = copy.deepcopy(module).double(), 0
        for parameter in own.parameters():
            of_this = weights[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
            if parameter.dim() < 2:
                parameter.data += of_this
            else:
                parameter.data = of_this / parameter[0].numel() ** 0.5
        result.append(own(inputs.double()).detach())
    return torch.stack(result)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (SmallCNN(10), (6, 784)),
        (nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.LayerNorm(7), nn.Linear(7, 3)), (6, 5)),
        (nn.Linear(4, 2, bias=False), (1, 4)),
    ],
)
def test_population_equals_modules_one_by_one(module: nn.Module, inputs: tuple[int, ...]) -> None:
    original = copy.deepcopy(module)
    population = ModulePopulation(module, GENES, 0.1, seed=1)
    stream = torch.Generator().manual_seed(0)
    x = torch.rand(9, GENES, generator=stream) < 0.5
    y = torch.rand(inputs, generator=stream)
    expected = one_by_one(original, population, x, y)
    ours = population.apply(population.parameters(x), y)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    torch.testing.assert_close(population.logits(x, population.gather(y)), ours.transpose(1, 2))


def test_everyone_may_see_something_of_their_own() -> None:
    population = ModulePopulation(nn.Linear(4, 2), GENES, 0.1)
    x = torch.rand(5, GENES, generator=torch.Generator().manual_seed(0)) < 0.5
    y = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(1))
    parameters = population.parameters(x)
    own = population.apply(parameters, y, shared=False)
    for k in range(5):
        torch.testing.assert_close(own[k], population.apply(parameters, y[k])[k])


def test_a_convolutional_net_evolves_freezes_and_resumes(small: Config, digits: Dataset, fp32: Compute) -> None:
    small.network = NetworkConfig(module="nne.training.models.cnn.SmallCNN", beta=0.05)
    config = altered(small, freeze=0.1, epsilon=2.0)
    unbroken, broken, resumed = (NetworkEvolution(config, digits, fp32) for _ in range(3))
    first = unbroken.step()["fitness/mean"]
    last = [unbroken.step()["fitness/mean"] for _ in range(19)][-1]
    assert last > first + 0.3
    assert len(unbroken.evolution.free) < 300
    for _ in range(12):
        broken.step()
    resumed.load_state_dict(broken.state_dict())
    for _ in range(8):
        resumed.step()
    assert state_sha256(resumed.state_dict()) == state_sha256(unbroken.state_dict())
    assert [name for name, _ in unbroken.figures(digits.test_images, digits.test_labels)] == [
        "convergence",
        "trajectories",
        "confusion",
    ]


def test_a_module_is_made_anew_from_the_seed() -> None:
    first, again, other = (load_module("nne.training.models.cnn.SmallCNN", 784, 10, seed) for seed in (0, 0, 1))
    first_bias, again_bias, other_bias = (module.get_parameter("first.bias") for module in (first, again, other))
    assert torch.equal(first_bias, again_bias)
    assert not torch.equal(first_bias, other_bias)


@pytest.mark.parametrize("path", ["nne.training.models.cnn.Missing", "nowhere.Net", "Net"])
def test_a_module_that_is_not_there(path: str) -> None:
    with pytest.raises(UserError, match=f"network.module={path} cannot be imported"):
        load_module(path, 784, 10, 0)


@pytest.mark.parametrize("experiment", ["nne_cnn", "sgd_mnist10"])
def test_the_command_trains_a_module(experiment: str, train: Command, tmp_path: Path) -> None:
    own = [s for s in SMALL if s.split("=")[0] not in ("network.hidden", "network.beta")]
    if experiment == "sgd_mnist10":
        own = ["data=embedded", "data.per_class=20", "network.module=nne.training.models.cnn.SmallCNN"]
    done = train(f"experiment={experiment}", *own, "trainer.max_steps=6", "run_dir=run")
    assert done.returncode == 0, done.stderr
    assert summary(tmp_path / "run")["steps"] == 6


class NoArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()


class Fifteen(nn.Module):
    """Gives 15 logits whatever it is asked for."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 15)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images)
        return logits


class Narrow(Fifteen):
    """Takes images of another size."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.layer = nn.Linear(100, classes)


class Recurrent(nn.Module):
    """Rows of the image in turn; vmap knows no GRU."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.rows = nn.GRU(28, 12, batch_first=True)
        self.outputs = nn.Linear(12, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.outputs(self.rows(images.view(-1, 28, 28))[0][:, -1])
        return logits


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("NoArguments", "must be made of the number of classes and map"),
        ("Fifteen", r"must map \[B, 784\] to \[B, 10\]; two images gave \[2, 15\]"),
        ("Narrow", "must be made of the number of classes and map .* mat1 and mat2 shapes cannot be multiplied"),
        ("Recurrent", "vmap cannot run it for many genotypes at once"),
    ],
)
def test_a_module_that_does_not_fit_is_one_line(module: str, said: str, digits: Dataset, fp32: Compute) -> None:
    config = composed("experiment=nne_cnn", *SMALL[:2], f"network.module={__name__}.{module}")
    with pytest.raises(UserError, match=said):
        build(config, digits, fp32)


def test_a_missing_module_is_one_line(train: Command) -> None:
    done = train("experiment=nne_cnn", *SMALL[:2], "network.module=nne.training.models.cnn.Big")
    assert done.returncode == 2
    assert "error: network.module=nne.training.models.cnn.Big cannot be imported" in done.stderr
    assert "Traceback" not in done.stderr


LONG = ("cartpole", "search")
EXAMPLES = {
    "knapsack": "no knapsack is worth more than",
    "cartpole": "mean 4",
    "dopamine": "epoch 10: 8",
    "search": "best: 0.",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("search", "cartpole") else ()) for n in EXAMPLES]
)
def test_examples_run(name: str, tmp_path: Path) -> None:
    said, few = EXAMPLES[name], ["1"] if name == "search" else []
    command = [sys.executable, str(REPOSITORY / "scripts" / "examples" / f"{name}.py"), *few]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_the_readme_shows_all_of_the_knapsack() -> None:
    _, code = (REPOSITORY / "scripts" / "examples" / "knapsack.py").read_text().split('"""\n\n', 1)
    assert code in (REPOSITORY / "README.md").read_text()
