"""A GPU that is not there: tensors that say ``cuda:0`` and hold real values on the CPU.

What a GPU would refuse (tensors of two devices, a CPU generator) raises ``RefusedError``; what would make the host wait
for it, or send it something, is counted by the line of the project that does so. To be imported before torch.
"""

import ctypes
import importlib.util
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]


def _register() -> None:
    """Compile ``guard.cpp`` against this PyTorch and load it, before PyTorch looks for a GPU."""
    assert "torch" not in sys.modules
    spec = importlib.util.find_spec("torch")
    assert spec
    assert spec.origin
    home, source = Path(spec.origin).parent, Path(__file__).with_name("guard.cpp")
    where = [f"-I{home}/include", f"-L{home}/lib", "-ltorch_cpu", "-lc10"]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "guard.so"
        line = ["c++", "-std=c++20", "-shared", "-fPIC", str(source), "-o", str(library), *where]
        subprocess.run(line, check=True, capture_output=True)
        for name in (home / "lib" / "libtorch_global_deps.so", home / "lib" / "libtorch_cpu.so", library):
            ctypes.CDLL(str(name), mode=ctypes.RTLD_GLOBAL)


_register()

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
MEMORY = 80 * 2**30
WAITS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "bincount",
    "equal",
    "histc",
    "_linalg_check_errors",
}
"""Operations whose result the host must know before it can go on."""
INDEXING = {"index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index"}


class RefusedError(RuntimeError):
    """A GPU would have refused this."""


class Counts:
    """Where the host waited for the GPU, and sent it something, and how many operations there were."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.uploads: Counter[str] = Counter()
        self.operations = 0
        self.counting = True

    def clear(self) -> None:
        """Begin anew."""
        self.__init__()  # type: ignore[misc]

    def pause(self) -> None:
        """Count nothing more."""
        self.counting = False


counts = Counts()


class OnGPU(Tensor):
    """Says that it is on the GPU; ``held`` is not."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnGPU":
        wrapper: Any = Tensor._make_wrapper_subclass
        shape = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made: OnGPU = wrapper(cls, held.size(), device=CUDA, **shape)
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"OnGPU({self.held!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise RefusedError(f"numpy() of a tensor on the GPU, at {_line()}")

    def __deepcopy__(self, memo: object) -> "OnGPU":
        return OnGPU(self.held.detach().clone()).requires_grad_(self.requires_grad)  # type: ignore[return-value]

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _dispatch(function, args, kwargs or {})


class _Everything(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(function, args, kwargs or {})


def _line() -> str:
    """The innermost line of the project that led here."""
    frame = sys._getframe(2)
    while frame.f_back:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and "pretended" not in path.parts and ".venv" not in path.parts:
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def _asks_for_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _dispatch(function: Any, args: Any, kwargs: Any) -> Any:
    name = function._schema.name.removeprefix("aten::")
    kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    flat, _ = tree_flatten((args, kwargs))
    tensors = [each for each in flat if isinstance(each, Tensor)]
    ours = [each for each in tensors if isinstance(each, OnGPU)]
    device = kwargs.get("device")
    if not ours and not _asks_for_gpu(device):
        return function(*args, **kwargs)
    counts.operations += counts.counting
    copies = name in ("copy_", "_to_copy")
    if ours and not copies:
        _refuse_mixed(name, function, args, tensors)
    generators = [each for each in flat if isinstance(each, torch.Generator)]
    if any(each.device.type == "cpu" for each in generators):
        raise RefusedError(f"{name}: a CPU generator for a tensor on the GPU, at {_line()}")
    to_host = name == "_local_scalar_dense" or (device is not None and not _asks_for_gpu(device))
    if name == "copy_":
        to_host = not isinstance(args[0], OnGPU)
    at_leisure = name == "copy_" and len(args) > 2 and args[2]  # an event says when it is done
    if (to_host and not at_leisure) or name in WAITS or _masks(name, args):
        counts.waits[f"{_line()} {name}"] += counts.counting
    source = args[1] if name == "copy_" else args[0] if name == "_to_copy" else None
    if isinstance(source, Tensor) and not isinstance(source, OnGPU) and not to_host:
        counts.uploads[f"{_line()} {name} {tuple(source.shape)}"] += counts.counting
        if not (hasattr(source, "pinned") and (kwargs.get("non_blocking") or args[2:] == (True,))):
            counts.waits[f"{_line()} {name} of memory that is not pinned"] += counts.counting
    if device is not None:
        kwargs = {**kwargs, "device": CPU}
    held_args, held_kwargs = tree_map_only(OnGPU, lambda each: each.held, (args, kwargs))
    result = function(*held_args, **held_kwargs)
    if to_host:
        return args[0] if name == "copy_" else result
    written = {id(each.held): each for each in ours} if _writes(function) else {}

    def wrapped(each: Tensor) -> Tensor:
        before = written.get(id(each))
        return before if before is not None and before.shape == each.shape else OnGPU(each)

    return tree_map_only(Tensor, wrapped, result)


def _writes(function: Any) -> bool:
    return any(each.alias_info and each.alias_info.is_write for each in function._schema.arguments)


def _masks(name: str, args: Any) -> bool:
    """Whether a boolean mask has to be counted before there is a result."""
    if name not in INDEXING:
        return False
    masks = [each for each in args[1] if isinstance(each, Tensor) and each.dtype == torch.bool]
    one_value = len(args) > 2 and isinstance(args[2], Tensor) and args[2].numel() == 1
    return bool(masks) and not one_value


def _refuse_mixed(name: str, function: Any, args: Any, tensors: list[Tensor]) -> None:
    """Only a number may come from the CPU to what is computed on a GPU, and an index, which is sent there."""
    for each in tensors:
        if isinstance(each, OnGPU):
            continue
        if name in INDEXING and isinstance(args[0], OnGPU) and any(each is index for index in args[1]):
            counts.uploads[f"{_line()} an index {tuple(each.shape)}"] += counts.counting
            counts.waits[f"{_line()} an index"] += counts.counting
        elif each.dim() or (each is args[0] and name.endswith("_")):
            raise RefusedError(f"{name}: {tuple(each.shape)} on the CPU with tensors on the GPU, at {_line()}")


class _Event:
    """What the host waits for on a GPU."""

    def record(self) -> None:
        """Nothing is under way here."""

    def synchronize(self) -> None:
        counts.waits[f"{_line()} an event"] += counts.counting


def _as_it_is(tensor: Tensor) -> Tensor:
    """In place of pinning memory."""
    tensor.pinned = True  # type: ignore[attr-defined]
    return tensor


def _not_recorded(self: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
    """In place of a CUDA graph's replay: the function itself."""
    return tuple(self.function(*(each.clone() for each in inputs)))


@contextmanager
def pretended() -> Iterator[Counts]:
    """Have one GPU for as long as this lasts."""
    properties = SimpleNamespace(total_memory=MEMORY, major=9, minor=0, multi_processor_count=132, name="pretended")
    answers: dict[str, Any] = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "set_device": None,
        "_lazy_init": None,
        "is_initialized": True,
        "synchronize": None,
        "mem_get_info": (MEMORY, MEMORY),
        "memory_reserved": 0,
        "memory_allocated": 0,
        "max_memory_allocated": 2**30,
        "get_device_name": "a pretended GPU",
        "get_device_capability": (9, 0),
        "get_device_properties": properties,
        "is_bf16_supported": True,
    }
    from nne.training.graph import Recorded

    before = {name: getattr(torch.cuda, name) for name in [*answers, "Event"]}
    called, replayed, pinned = Recorded.__call__, Recorded.replay, Tensor.pin_memory
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    torch.cuda.Event = _Event  # type: ignore[assignment, misc]
    Tensor.pin_memory = _as_it_is  # type: ignore[assignment, method-assign]
    Recorded.__call__ = _not_recorded  # type: ignore[method-assign]
    Recorded.replay = lambda self: None  # type: ignore[method-assign]
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with _Everything():
            yield counts
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        for name, function in before.items():
            setattr(torch.cuda, name, function)
        Recorded.__call__, Recorded.replay = called, replayed  # type: ignore[method-assign]
        Tensor.pin_memory = pinned  # type: ignore[method-assign]
        torch.use_deterministic_algorithms(False)
