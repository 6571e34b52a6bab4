"""Compile the evaluating kernel for a GPU of some compute capability, as it is launched, on a machine without one."""

import os
import subprocess
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from nne.population.triton import kernels as kernels

capability = int(sys.argv[1])
shape = {"C": 10, "CHUNK": kernels.CHUNK, "BN": kernels.BN, "BB": kernels.BB, "REWARD": True, "WIDEN": False}
arrays = {"weights": "*bf16", "first": "*i32", "source": "*i32", "pixels": "*bf16", "labels": "*i64", "out": "*fp32"}
numbers = {"N": "i32", "B": "i32", "units": "i32", "temperature": "fp32", "ceiling": "fp32"}
source = ASTSource(kernels.evaluate, {**arrays, **numbers, **dict.fromkeys(shape, "constexpr")}, shape)
compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": kernels.WARPS})
assert "mma.sync" in compiled.asm["ptx"]

ptxas = get_ptxas(capability).path
architecture = f"-arch=sm_{capability}" + ("a" if capability == 90 else "")
told = subprocess.run(
    [ptxas, "-v", architecture, "-o", os.devnull, "-"], input=compiled.asm["ptx"], capture_output=True, text=True
).stderr
assert "0 bytes spill stores, 0 bytes spill loads" in told, told
