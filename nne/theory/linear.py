"""Linear targets (Sec. 2.1): a network without hidden units, whose expected loss and its derivatives are exact.

A genotype's network answers ``(W x)^T y`` to an input ``y``, which is uniform in the unit ball of ``R^m``; the label is
``a^T y``. With squared loss, and since ``E[y y^T] = I / (m + 2)``,

    L_x  = |W x - a|^2 / (m + 2)
    L(p) = E_{x ~ p} L_x = (|W p - a|^2 + sum_i p_i (1 - p_i) |W_i|^2) / (m + 2)

where ``W_i`` is column i of ``W``. ``L(p)`` is linear in each ``p_i``. Everything is float64.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nne.population.weights import sparse_weight_matrix
from nne.training.seeding import generator


@dataclass(frozen=True)
class LinearTarget:
    """``W: [m, n]`` and the target ``a: [m]``, ``|a| <= 1``."""

    W: Tensor
    a: Tensor

    @cached_property
    def lengths(self) -> Tensor:
        """``|W_i|^2: [n]``."""
        return torch.einsum("ij,ij->j", self.W, self.W)

    @cached_property
    def H(self) -> float:
        """A bound on the largest eigenvalue of the Hessian, whose positive part is ``2 W^T W / (m + 2)``."""
        return 2 * float(torch.linalg.eigvalsh(self.W @ self.W.T)[-1]) / (len(self.a) + 2)

    def losses(self, x: Tensor) -> Tensor:
        """``L_x: [N]`` of genotypes ``x: [N, n]``."""
        return (x.to(self.W.dtype) @ self.W.T - self.a).square().sum(dim=1) / (len(self.a) + 2)

    def loss(self, p: Tensor, w: Tensor) -> Tensor:
        """``L(p)``, given ``w = W p``."""
        return ((w - self.a).square().sum() + p * (1 - p) @ self.lengths) / (len(self.a) + 2)

    def gradient(self, p: Tensor, w: Tensor) -> Tensor:
        """``dL / dp: [n]``, given ``w = W p``."""
        return (2 * (w - self.a) @ self.W + (1 - 2 * p) * self.lengths) / (len(self.a) + 2)

    def hessian(self) -> Tensor:
        """``[n, n]``, the same for every ``p``; its diagonal is zero."""
        return 2 * (self.W.T @ self.W - torch.diag(self.lengths)) / (len(self.a) + 2)

    def cosine(self, w: Tensor) -> float:
        """Between the weights ``w: [m]`` of a genotype, or of the mean, and ``a``."""
        return float(cosine_similarity(w, self.a, dim=0))


def allele_fitness(p: Tensor, loss: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """``f, f_bar: [n]`` of an infinite population, where fitness is ``-L``, from the loss and its gradient (Lemma 1).

    ``L = -f_bar - p (f - f_bar)`` and ``dL / dp = -(f - f_bar)``.
    """
    f_bar = p * gradient - loss
    return f_bar - gradient, f_bar


def largest_epsilon(f: Tensor, f_bar: Tensor, H: float) -> float:
    """The strongest selection for which Theorem 1 guarantees that the loss falls: ``min{1 / max{2 U, 1}, 2 / H, 1}``.

    The theorem's ``U`` is the largest loss of any ``p``. Its proof needs only that ``1 - epsilon L(p^t) >= 1/2``, and
    that no ``1 + epsilon f`` is negative: the largest mean loss of the carriers of any allele will do, which lets
    selection grow stronger as losses fall.
    """
    U = -float(torch.minimum(f, f_bar).min())
    return min(1 / max(2 * U, 1), 2 / max(H, 2))


def guaranteed_decrease(p: Tensor, loss: Tensor, gradient: Tensor, epsilon: float) -> Tensor:
    """By how much ``L`` falls at least in a generation of eq. (3), from the last lines of Theorem 1's proof:

    ``epsilon / (2 (1 - epsilon L(p))) sum_i p_i (1 - p_i) (dL / dp_i)^2``.
    """
    return epsilon / (2 * (1 - epsilon * loss)) * (p * (1 - p) * gradient.square()).sum()


def linear_target(m: int, n: int, d: int, seed: int) -> LinearTarget:
    """``W_ij = +-sqrt(m / d)`` with probability ``d / m``, else 0 (Theorem 2), and ``a`` uniform on the unit sphere."""
    signs = sparse_weight_matrix(m, n, d / m, seed).dense().sign_()
    a = torch.randn(m, generator=generator(seed, "target"), dtype=torch.float64)
    return LinearTarget(signs.mul_((m / d) ** 0.5), a / a.norm())
