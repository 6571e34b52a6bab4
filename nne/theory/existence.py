"""What allele frequencies and genotypes there are for a linear target: Theorem 2, by construction and by experiment."""

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from nne.theory.linear import LinearTarget


def frequencies_exist(target: LinearTarget) -> bool:
    """Whether some ``p`` in ``[0, 1]^n`` has ``W p = a`` (Theorem 2, first part), by linear programming.

    Raises:
        RuntimeError: the solver could not tell.
    """
    W = target.W.numpy()
    solution = linprog(np.zeros(W.shape[1]), A_eq=W, b_eq=target.a.numpy(), bounds=(0, 1), method="highs")
    if solution.status not in (0, 2):  # feasible, infeasible
        raise RuntimeError(f"the linear program has no answer: {solution.message}")
    return bool(solution.status == 0)


def aligned_genotype(target: LinearTarget) -> Tensor:
    """``x: [n]`` bool, the genotype of the proof of Theorem 2: every gene whose column points towards the target.

    ``x(i) = 1`` where ``W_i . a >= |a| |W_i| / sqrt(m)``.
    """
    m = len(target.a)
    towards = target.a @ target.W
    least = target.a.norm() * (target.lengths / m).sqrt()
    return torch.logical_and(towards >= least, target.lengths > 0)
