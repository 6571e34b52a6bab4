"""Networks as plain PyTorch, whatever they learnt by. Shapes: images ``[B, inputs]`` in [0, 1], logits ``[B, C]``."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def most_active(h: Tensor, k: int, dim: int) -> Tensor:
    """``h`` with only its ``k`` largest entries along ``dim`` (Sec. 4, item 5); all that tie with the last stay."""
    least = h.topk(k, dim=dim, sorted=False).values.amin(dim=dim, keepdim=True)
    return h.masked_fill(h < least, 0)


class KCap(nn.Module):
    """Only the ``k`` most active units fire (Sec. 4, item 5); units that tie with the last of them do too."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, h: Tensor) -> Tensor:
        """``[B, units]`` of ``[B, units]``."""
        return most_active(h, self.k, dim=1)

    def extra_repr(self) -> str:
        return f"k={self.k}"


def linear(matrix: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A layer with the weights ``matrix: [units, sources]``."""
    units, sources = matrix.shape
    layer = nn.Linear(sources, units, bias=bias is not None)
    layer.weight = nn.Parameter(matrix.detach().float().cpu().clone(memory_format=torch.contiguous_format))
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().float().cpu().clone())
    return layer


def hidden(matrix: Tensor, cap: int | None, bias: Tensor | None = None) -> list[nn.Module]:
    """A hidden layer: links, ReLU and, if there is one, the cap."""
    return [linear(matrix, bias), nn.ReLU(), *([KCap(cap)] if cap else [])]


def layered(matrices: Iterable[Tensor], cap: int | None, bias: Tensor | None = None) -> nn.Sequential:
    """A network from the matrix of every layer, ``[units, sources]``, the output layer's last.

    ``bias``: of the first layer.
    """
    *below, outputs = matrices
    biases = [bias, *[None] * (len(below) - 1)]
    parts = (part for matrix, bias in zip(below, biases, strict=True) for part in hidden(matrix, cap, bias))
    return nn.Sequential(*parts, linear(outputs))
