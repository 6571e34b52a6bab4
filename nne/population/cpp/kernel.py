"""``kernel.cpp`` on tensors: genotypes drawn, and networks of one hidden layer evaluated, on a CPU in float32."""

import ctypes
import math
from ctypes import CDLL, c_char_p, c_float, c_int, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import record_function

from nne.population.weights import WeightMatrix
from nne.training.errors import UserError
from nne.training.io import compiler
from nne.training.models.network import Edges

SOURCE = Path(__file__).with_suffix(".cpp")
AT_ONCE = 64  # images, as in kernel.cpp
_loaded: list[CDLL] = []


def load() -> str | None:
    """Have the kernel ready, compiled if need be; else why it cannot be had."""
    try:
        _loaded[:] = [CDLL(str(compiler.compiled(SOURCE)))]
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{SOURCE.name} cannot be loaded ({error})"
    return None


def instructions() -> str:
    """What it was compiled for: ``AVX2 with FMA``."""
    (library,) = _loaded
    library.instructions.restype = c_char_p
    said: bytes = library.instructions()
    return said.decode()


def loaded() -> bool:
    """Whether this process has it."""
    return bool(_loaded)


@record_function("kernel: draw")
def draw(genes: Tensor, threshold: Tensor, always: Tensor, keys: Tensor) -> Tensor:
    """``x: [N, n]`` bool, as in ``nne.genome.draw``.

    Args:
        genes, threshold: ``[n]`` int32.
        always: ``[n]`` bool, alleles that everybody carries.
        keys: ``[N, 2]`` int32.
    """
    x = torch.empty(len(keys), len(genes), dtype=torch.bool)
    (library,) = _loaded
    arrays = map(_at, (genes, threshold, always))
    library.draw(*arrays, c_int64(len(genes)), _at(keys), c_int64(len(keys)), _at(x), _threads())
    return x


@record_function("kernel: sums over carriers")
def carrier_sums(x: Tensor, rows: Tensor) -> Tensor:
    """Sums over the carriers of each allele, ``[k, n]``, of ``rows: [k, N]`` float64; ``x: [N, n]`` bool."""
    (library,) = _loaded
    x, rows = x.bool().contiguous(), rows.contiguous()
    sums = torch.zeros(len(rows), x.shape[1], dtype=torch.float64)
    sizes = c_int64(len(x)), c_int64(x.shape[1])
    library.carrier_sums(_at(x), *sizes, _at(rows), c_int64(len(rows)), _at(sums), _threads())
    return sums


class _Network(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("units", "classes", "pixels", "genes")),
        *((name, c_void_p) for name in ("first", "source", "row", "gene", "value", "alike")),
        ("rectified", ctypes.c_int32),
    )


class _Seen(ctypes.Structure):
    _fields_ = (("count", c_int64), *((name, c_void_p) for name in ("first", "start", "active")))


class Seen:
    """Which edges see something on each of ``count`` images, and what (``build_index`` in ``kernel.cpp``)."""

    def __init__(self, count: int, *active: Tensor) -> None:
        self.count = count
        self._arrays = active  # what the structure points to lives as long as it
        self.at = ctypes.byref(_Seen(count, *map(_at, active)))


class KernelNetwork:
    """A hidden layer's edges, and ``W`` with a row for each of them and then for each output link."""

    def __init__(self, layer: Edges, W: WeightMatrix, classes: int) -> None:
        self.layer = layer
        self.classes = classes
        degree = torch.bincount(layer.unit, minlength=layer.units)
        arrays = {
            "first": torch.cat([degree.new_zeros(1), degree.cumsum(0)]).int(),
            "source": layer.source.int(),
            "row": W.offsets.int(),
            "gene": W.genes.int(),
            "value": W.values.float(),
            "alike": alike(layer, W).int(),
        }
        self._arrays = arrays
        pointers = {name: array.data_ptr() for name, array in arrays.items()}
        sizes = {"units": layer.units, "classes": classes, "pixels": layer.sources, "genes": W.n}
        self._at = ctypes.byref(_Network(**sizes, **pointers, rectified=W.g is torch.relu_))

    @record_function("kernel: look")
    def build_index(self, images: Tensor) -> Seen:
        """What all genotypes share of images ``[B, pixels]`` float32."""
        (library,) = _loaded
        rows = -(-len(images) // AT_ONCE) * self.layer.units
        first, start = torch.zeros(rows + 1, dtype=torch.int64), torch.empty(rows, AT_ONCE + 1, dtype=torch.int32)
        given = self._at, _at(images), c_int64(len(images)), _at(first), _at(start)
        library.build_index(*given, None, _threads())
        active = torch.empty(int(first[-1]) + 1, 2)  # room even if nobody sees anything
        library.build_index(*given, _at(active), _threads())
        return Seen(len(images), first, start, active)

    @record_function("kernel: evaluate")
    def logits(self, x: Tensor, seen: Seen) -> Tensor:
        """``[N, C, B]`` of genotypes ``x: [N, n]`` bool; a view of a tensor with ``N`` last."""
        (library,) = _loaded
        logits = torch.empty(seen.count, self.classes, len(x))
        library.evaluate(self._at, _at(x), c_int64(len(x)), seen.at, _at(logits), _threads())
        return logits.permute(2, 1, 0)

    @record_function("kernel: rewards")
    def rewards(self, x: Tensor, seen: Seen, labels: Tensor, temperature: float) -> Tensor:
        """``[N]`` float64: ``nne.fitness.reward`` of genotypes ``x: [N, n]`` bool, added up over the images."""
        (library,) = _loaded
        rewards, labels = torch.zeros(len(x), dtype=torch.float64), labels.long().contiguous()
        most = c_float(math.log(self.classes) ** 2)
        given = seen.at, _at(labels), c_float(temperature), most
        library.rewards(self._at, _at(x), c_int64(len(x)), *given, _at(rewards), _threads())
        return rewards


def alike(layer: Edges, W: WeightMatrix) -> Tensor:
    """``[units]``: of how many of its first edges a unit has the rows of ``W`` that the unit before it has.

    Filters at many places have their weights in common: they are expressed once.
    """
    edges, degree = len(layer.unit), torch.bincount(layer.unit, minlength=layer.units)
    first = degree.cumsum(0) - degree
    place = torch.arange(edges) - first[layer.unit]
    before = torch.where(layer.unit > 0, first[layer.unit - 1] + place, 0)
    there = (layer.unit > 0) & (place < degree[layer.unit - 1])
    count, offsets = W.offsets.diff()[:edges], W.offsets[:edges]
    same = there & (count == count[before])
    entry = torch.arange(int(W.offsets[edges]))
    edge = torch.repeat_interleave(torch.arange(edges), count)
    other = torch.where(same[edge], offsets[before][edge] + entry - offsets[edge], 0)
    differs = (W.genes[entry] != W.genes[other]) | (W.values[entry] != W.values[other])
    same &= torch.bincount(edge[differs], minlength=edges) == 0
    wrong = torch.where(same, degree[layer.unit], place)  # the first edge of a unit that is not alike
    return degree.scatter_reduce(0, layer.unit, wrong, "amin")


def _at(tensor: Tensor) -> c_void_p:
    assert tensor.is_contiguous()
    return c_void_p(tensor.data_ptr())


def _threads() -> c_int:
    return c_int(torch.get_num_threads())
