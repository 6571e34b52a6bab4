"""What a run has learnt, for others to use: `python scripts/export.py run=PATH [out=PATH/export]`.

Writes the network as an ordinary torch.nn.Module (network.safetensors) and for any other runtime (network.onnx): the
commonest genotype of an evolution, the network of everything else. Both take images [B, inputs] in [0, 1], white on
black as in MNIST, and give logits [B, classes].
"""

from pathlib import Path

from nne.registry import LEARNERS, build
from nne.training.arguments import options, script
from nne.training.io.export import describe, save
from nne.training.logging.progress import console
from nne.training.run import load_run

KEYS = {"run": None, "out": ""}


def export(folder: Path, out: Path) -> None:
    """Write both files and say how to read them.

    Raises:
        UserError: there is no such run, or it has no network that could be written out.
    """
    learner, data, metadata = load_run(folder, LEARNERS, build)
    network = learner.as_module()
    about = {
        "experiment": metadata.experiment,
        "steps": metadata.step,
        "dataset": metadata.dataset,
        "classes": data.classes,
        "config": metadata.config,
    }
    weights, graph = save(network, data.train_images.shape[1], out, about)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    console.print(f"{metadata.experiment} after {metadata.step:,} {learner.step_name}s: {parameters:,} parameters")
    own = describe(network)
    loaded = f"the state_dict of {own}" if isinstance(own, str) else "nne.training.io.export.load(path) is the network"
    console.print(f"{weights}, for PyTorch: {loaded}", soft_wrap=True)
    console.print(f"{graph}, for onnxruntime and others", soft_wrap=True)


def main() -> int:
    """Parse the command line; the exit code is 2 for a user's error."""

    def work(arguments: list[str]) -> None:
        chosen = options(arguments, KEYS)
        run = Path(chosen["run"])
        export(run, Path(chosen["out"] or run / "export"))

    return script(__doc__ or "", work)
