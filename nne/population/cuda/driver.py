"""CUDA C++ compiled for the GPU that is there by NVRTC, which every CUDA build of PyTorch brings along, and launched.

Nothing else is needed: no toolkit, no compiler. Launches go to PyTorch's current stream.
"""

import ctypes
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from nne.training.errors import UserError, first_line

MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Kernels:
    """The functions of one source file, compiled for one GPU.

    Args:
        source: CUDA C++.
        macros: what to define.
        device: the GPU.

    Raises:
        UserError: NVRTC cannot be found, or cannot compile it.
    """

    def __init__(self, source: Path, macros: Mapping[str, int], device: torch.device) -> None:
        self.device = device
        self.module = ctypes.c_void_p()
        binary = compiled(source, tuple(macros.items()), torch.cuda.get_device_capability(device))
        with torch.cuda.device(device):
            torch.cuda.current_stream().synchronize()  # has PyTorch make its context
            _check(_driver().cuModuleLoadData(ctypes.byref(self.module), binary))
        self.functions: dict[str, ctypes.c_void_p] = {}

    def launch(
        self, name: str, grid: tuple[int, ...], threads: int, *arguments: Tensor | int | float, shared: int = 0
    ) -> None:
        """Put a kernel on the stream: tensors by their address, numbers as ``int`` and ``float``."""
        function = self.functions.get(name) or self._function(name, shared)
        values: list[ctypes.c_void_p | ctypes.c_int | ctypes.c_float] = []
        for argument in arguments:
            if isinstance(argument, Tensor):
                values.append(ctypes.c_void_p(argument.data_ptr()))
            else:
                values.append(ctypes.c_int(argument) if isinstance(argument, int) else ctypes.c_float(argument))
        addresses = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        sizes = (*grid, 1, 1)[:3]
        stream = ctypes.c_void_p(torch.cuda.current_stream(self.device).cuda_stream)
        with torch.cuda.device(self.device):
            _check(_driver().cuLaunchKernel(function, *sizes, threads, 1, 1, shared, stream, addresses, None))

    def _function(self, name: str, shared: int) -> ctypes.c_void_p:
        function = ctypes.c_void_p()
        _check(_driver().cuModuleGetFunction(ctypes.byref(function), self.module, name.encode()))
        if shared:
            _check(_driver().cuFuncSetAttribute(function, MAX_DYNAMIC_SHARED, shared))
        self.functions[name] = function
        return function


@cache
def compiled(source: Path, macros: tuple[tuple[str, int], ...], capability: tuple[int, int]) -> bytes:
    """The machine code of a source file, by NVRTC.

    Raises:
        UserError: NVRTC cannot be found, or cannot compile it.
    """
    nvrtc, program = _nvrtc(), ctypes.c_void_p()
    code = source.read_bytes()
    options = [f"--gpu-architecture=sm_{capability[0]}{capability[1]}", "--std=c++17", "--fmad=true"]
    options += [f"-D{name}={value}" for name, value in macros]
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code, source.name.encode(), 0, None, None)
    try:
        if nvrtc.nvrtcCompileProgram(program, len(options), given):
            raise UserError(f"{source.name} could not be compiled: {first_line(Exception(_text(program)))}")
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        binary = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetCUBIN(program, binary)
        return binary.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    _nvrtc().nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    _nvrtc().nvrtcGetProgramLog(program, log)
    return log.value.decode(errors="replace")


@cache
def _nvrtc() -> ctypes.CDLL:
    """PyTorch's own, or the system's."""
    found = find_spec("nvidia")
    folders = [Path(folder) for folder in (found.submodule_search_locations if found else None) or ()]
    libraries = [str(file) for folder in folders for file in sorted(folder.glob("*/lib/libnvrtc.so.*"))]
    for name in (*libraries, "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise UserError("NVRTC, which compiles the kernels, cannot be found; a CUDA build of PyTorch brings it along")


@cache
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise UserError(f"the NVIDIA driver cannot be loaded ({error})") from error


def _check(status: int) -> None:
    """Raise where the driver says no."""
    if status:
        text = ctypes.c_char_p()
        _driver().cuGetErrorString(status, ctypes.byref(text))
        raise torch.AcceleratorError(f"CUDA error {status}: {(text.value or b'unknown').decode()}")
