"""Files of a network for others to use; reading them runs no code.

``network.safetensors`` holds the ``state_dict`` of an ``nn.Sequential`` and, as text, what its layers are;
``network.onnx`` is the same network for any other runtime.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from nne.training.errors import UserError, require
from nne.training.io.checkpoint import write_tensors
from nne.training.models.plain import KCap

WEIGHTS, ONNX = "network.safetensors", "network.onnx"


@torch.no_grad()
def save(network: nn.Module, inputs: int, folder: Path, origin: dict[str, Any]) -> list[Path]:
    """Write ``network.safetensors`` and ``network.onnx`` and check that both answer as the network does.

    Args:
        inputs: pixels of an image.
        origin: what the file of weights is to say of where it came from.

    Raises:
        UserError: the packages for ONNX are missing, or the files cannot be written.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch.onnx.export needs it
    except ImportError as error:
        raise UserError(f"{error.name} is missing: pip install -e '.[export]'") from error
    weights, graph = folder / WEIGHTS, folder / ONNX
    metadata = {name: json.dumps(value) for name, value in {**origin, "layers": describe(network)}.items()}
    some = torch.rand(3, inputs, generator=torch.Generator().manual_seed(0))
    batch = {0: torch.export.Dim("batch")}
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"], "dynamic_shapes": (batch,)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _whole(weights, lambda path: write_tensors(network.state_dict(), path, metadata))
        with _silence():
            exporter: dict[str, Any] = {"external_data": False, "verbose": False, **names}
            _whole(graph, lambda path: torch.onnx.export(network.eval(), (some,), path, **exporter))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder} cannot be written to ({error})") from error
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    wanted, answers = network(some), {graph: torch.from_numpy(session.run(None, {"images": some.numpy()})[0])}
    if not isinstance(describe(network), str):
        answers[weights] = load(weights)(some)
    for path, answer in answers.items():
        if not torch.allclose(answer, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max())):
            raise RuntimeError(f"{path} does not answer as the network does")
    return [weights, graph]


def load(path: Path) -> nn.Sequential:
    """The network of a ``network.safetensors``; no code in it is run.

    Raises:
        UserError: it is no such file, or its network is a module of its own.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        layers = json.loads(metadata["layers"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a network that `nne export` wrote ({error})") from error
    is_module = isinstance(layers, str)
    require(not is_module, f"{path} holds the state_dict of {layers}: make one and call its load_state_dict")
    try:
        with torch.device("meta"):  # whatever sizes a file tells of, no memory is taken for them
            network = nn.Sequential(*(LAYERS[kind](*sizes) for kind, *sizes in layers))
        network.load_state_dict(state, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} does not hold the network that it says ({error})") from error
    return network.eval()


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "linear": lambda sources, units, bias: nn.Linear(sources, units, bias=bias),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "k-cap": KCap,
}


def describe(network: nn.Module) -> list[list[Any]] | str:
    """The layers of a sequence, as ``load`` makes them again; of any other module its class, or those of its layers."""
    if not isinstance(network, nn.Sequential):
        return _class(network)
    layers = [_layer(layer) for layer in network]
    known = [layer for layer in layers if layer]
    return known if len(known) == len(layers) else f"nn.Sequential of {', '.join(map(_class, network))}"


def _class(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _layer(layer: nn.Module) -> list[Any] | None:
    if isinstance(layer, nn.Linear):
        return ["linear", layer.in_features, layer.out_features, layer.bias is not None]
    if isinstance(layer, KCap):
        return ["k-cap", layer.k]
    return next(([name] for name in ("relu", "tanh") if type(layer) is LAYERS[name]), None)


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    partial = path.with_suffix(".partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter talks of itself."""
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield
