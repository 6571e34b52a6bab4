"""What selection should achieve, by quantitative genetics, from the alleles' means in one sample.

With fitness as the trait, the additive genetic variance ``V_A = sum_i p_i (1 - p_i) alpha_i^2``, where ``alpha_i`` is
the average effect of allele i, says how fast mean fitness can rise (Fisher's fundamental theorem; the breeder's
equation). An estimate ``a_i = f(i) - f_bar(i)`` of ``alpha_i`` from N individuals has the sampling variance
``V_P (1 / n_1 + 1 / n_0)``, with ``V_P`` the variance of fitness and ``n_1, n_0`` the individuals with and without the
allele. Over thousands of genes that noise is larger than the signal, so it is subtracted.
"""

import torch
from torch import Tensor

from nne.fitness import AlleleMeans, exact_sum
from nne.parts import Parts


def additive_variance(means: AlleleMeans) -> Tensor:
    """``V_A`` of the fitness that was given, an unbiased estimate (it may be negative)."""
    s = means.share
    seen = s * (1 - s) * (means.f - means.f_bar).square()
    return exact_sum(seen, means.polymorphic) - noise(means)


def noise(means: AlleleMeans) -> Tensor:
    """What sampling adds to ``sum_i p_i (1 - p_i) a_i^2``: ``V_P / N`` for each polymorphic gene."""
    if means.variance.shape == means.share.shape:
        return exact_sum(means.variance, means.polymorphic) / means.N
    return means.variance * means.polymorphic.sum(dim=-1) / means.N


def predicted_response(change: Tensor, means: AlleleMeans) -> Tensor:
    """What a ``change`` in allele frequencies should bring in mean fitness: ``sum_i (p'_i - p_i) alpha_i``.

    ``p'_i - p_i`` was chosen by the same sample that ``a_i`` comes from; what their common noise adds is subtracted.
    """
    which = means.polymorphic & (means.f != means.f_bar)
    a, s = means.f - means.f_bar, means.share
    variance = means.variance if means.variance.shape == s.shape else means.variance[..., None]
    sampling = variance / means.N * (1 / s + 1 / (1 - s))
    return exact_sum(change * (a - sampling / a), which)


def response(
    change: Tensor, means: AlleleMeans, fitness: Tensor, told: Tensor, parts: Parts | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Heritability of fitness, signal to noise, how far mean fitness should rise, and what it is.

    Args:
        change: ``[n]``, of allele frequencies.
        means: of fitness as it selects.
        fitness, told: ``[N]``, that fitness, and as it was told; ``[K, N]``, if it is by parts: it is then the sum of
            what parts do, to first order.
        parts: which of the ``K`` counts for each allele.
    """
    centred = fitness - (exact_sum(fitness) / means.N)[..., None]
    squares = exact_sum(centred.square())
    unit = exact_sum(told * centred) / squares.clamp(min=1e-30)  # of fitness as it selects
    spread, own = squares / means.N, told
    if parts is None:
        predicted = unit * predicted_response(change, means)
    else:
        predicted, own = predicted_response(change * unit[parts.row], means), told[0]
        spread = torch.where(parts.count > 0, spread, 0.0).sum()
    additive = additive_variance(means)
    heritability, signal = additive / spread.clamp(min=1e-30), additive / noise(means).clamp(min=1e-30)
    return heritability, signal, predicted, exact_sum(own) / means.N
