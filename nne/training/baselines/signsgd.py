"""SignSGD: every weight moves by the same amount, against the sign of its gradient (Eq. (5))."""

from collections.abc import Iterable

import torch
from torch import nn


class SignSGD(torch.optim.Optimizer):
    """``w_ij := w_ij - epsilon' sign(dL / dw_ij)``; for the output layer ``dL / dw_ij = (z_j - l_j) h_i`` (Lemma 2).

    With more than one image in a batch the sign is that of the mean gradient (Bernstein et al. 2018).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad.sign(), alpha=-group["lr"])
