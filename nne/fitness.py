"""How well an individual did, and how well each allele did over the whole population (Sec. 3.1)."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from nne.population.cpp import kernel
from nne.population.cuda import genotypes as cuda
from nne.training import plugin
from nne.training.errors import require


def reward(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """``max{0, alpha^2 - L}`` of every individual on every image; its mean over images is ``delta_x`` (Sec. 3.1).

    ``alpha = log C`` is the loss of a random guess and ``L`` the cross-entropy of the softmax output; the logits
    are divided by ``temperature`` first (1 is the paper's). ``logits: [N, C, B]``, ``labels: [B]`` -> ``[N, B]``.
    """
    individuals, classes, _ = logits.shape
    alpha = math.log(classes)
    loss = cross_entropy(logits / temperature, labels.expand(individuals, -1), reduction="none")
    return (alpha**2 - loss).clamp_(min=0)


def share_of_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Each class's own share of minus the loss, in a body whose other classes are average; ``[C, N]`` float64.

    With ``z`` the logits (divided by the temperature) and ``m`` their mean over the population, class by class::

        r_c = z_c 1[label = c] - log(exp(z_c) + sum_{k != c} exp(m_k)),    averaged over the images

    so that what an individual's other classes happen to do says nothing of its genes for ``c``.

    Args:
        logits: ``[N, C, B]``.
        labels: ``[B]``.
    """
    average = logits.mean(dim=0, keepdim=True)  # [1, C, B]
    everybody = average.logsumexp(dim=1, keepdim=True)
    others = everybody + torch.log1p(-(average - everybody).exp().clamp(max=1 - 1e-6))
    own = torch.nn.functional.one_hot(labels, logits.shape[1]).T.to(logits.dtype)  # [C, B]
    return (logits * own - torch.logaddexp(logits, others)).mean(dim=2, dtype=torch.float64).T.contiguous()


def centred(logits: Tensor) -> Tensor:
    """``logits: [..., C, B]`` less their mean over the images, class by class."""
    return logits - logits.mean(dim=-1, keepdim=True)


def standardise(delta: Tensor) -> Tensor:
    """``(delta - mean) / sd`` over the population: eq. (3) then moves ``p`` by about ``epsilon p (1 - p) (f - f_bar)``.

    A population of equals has no fitter allele: all zeros.
    """
    N = delta.shape[-1]
    centred = delta - (exact_sum(delta) / N)[..., None]
    sd = root(exact_sum(centred.square()) / N)[..., None]
    return torch.where(sd > 0, centred / sd, 0.0)


def rank(delta: Tensor) -> Tensor:
    """Ranks, scaled to mean 0 and variance 1; ties share their mean rank."""
    if delta.dim() > 1:
        return torch.stack([rank(island) for island in delta])
    _, place, count = torch.unique(delta, return_inverse=True, return_counts=True)
    mean_rank = count.cumsum(0) - (count - 1) / 2
    return standardise(mean_rank[place].to(delta.dtype))


def as_is(delta: Tensor) -> Tensor:
    """``delta_x`` itself, as the paper prints it."""
    return delta


TRANSFORMS: dict[str, "Transform"] = {"none": as_is, "standardise": standardise, "rank": rank}
STATIC = frozenset({as_is, standardise})
"""Those that compute in the same way whatever the numbers are (``nne.training.graph``)."""

Transform = Callable[[Tensor], Tensor]
"""From the fitness told, ``[N]`` float64, to the fitness that selects; of ``K`` islands, ``[K, N]``."""


def chosen_transform(choice: str | Transform) -> Transform:
    """A transform by its name in ``TRANSFORMS``, by its dotted path, or itself, checked on four individuals.

    Raises:
        UserError: there is no such transform, or it does not give a finite number for each individual.
    """

    def probe(transform: Transform) -> None:
        transformed = transform(torch.tensor([1.0, 2.0, 2.0, 4.0], dtype=torch.float64))
        right = isinstance(transformed, Tensor) and transformed.shape == (4,) and bool(transformed.isfinite().all())
        require(right, f"it gave {transformed}, not four finite numbers")

    expected = "a function transform(fitness) -> fitness, both [N]"
    transform: Transform = plugin.chosen("fitness", choice, TRANSFORMS, expected, probe)
    return transform


@dataclass(frozen=True)
class AlleleMeans:
    """How the carriers of each allele did in a population: the estimates of eqs. (1) and (2).

    ``f, f_bar: [n]`` float64, mean fitness with and without the allele; where nobody has it, or everybody, the mean is
    undefined and given as 0. ``share: [n]``, who carries it. ``variance``: of fitness over the population of ``N``, for
    each allele if each has a fitness of its own.
    """

    f: Tensor
    f_bar: Tensor
    share: Tensor
    variance: Tensor
    N: int

    @property
    def polymorphic(self) -> Tensor:
        """``[n]`` bool: where both alleles occur in the sample."""
        return (self.share > 0) & (self.share < 1)


def round_for_exact_sum(rows: Tensor, count: Tensor | int | None = None) -> Tensor:
    """``rows: [..., N]`` in float64, rounded so that any of a row's figures add up without rounding.

    In whatever order, on whatever processor and by however many workers, sums then have the same bits. A figure changes
    by at most 2^-53 of ``count`` times the row's largest: how many are not zero, ``[..., 1]``, if not all ``N``.
    """
    rows = rows.double()
    _, exponent = torch.frexp(rows.abs().amax(dim=-1, keepdim=True) * (rows.shape[-1] if count is None else count))
    unit = ((exponent.long() - 52 + 1023).clamp(1, 2046) << 52).view(torch.float64)  # 2^(exponent - 52), by its bits
    return (rows / unit).round() * unit


def exact_sum(values: Tensor, where: Tensor | None = None) -> Tensor:
    """The sum along the last dimension, in float64, with the same bits on every machine, however wide its vectors are.

    Args:
        values: ``[..., N]``.
        where: which of them are added up, if not all.
    """
    if not values.numel():
        return values.new_zeros(values.shape[:-1], dtype=torch.float64)
    if where is None:
        return round_for_exact_sum(values).sum(dim=-1)
    chosen = torch.where(where, values, 0.0)
    return round_for_exact_sum(chosen, where.sum(dim=-1, keepdim=True)).sum(dim=-1)


def root(x: Tensor) -> Tensor:
    """The square root to 24 bits, in float64: the last bit of 53 differs between the libraries that PyTorch calls."""
    return x.sqrt().float().double()


def carrier_sums(genotypes: Iterable[Tensor], rows: Tensor) -> Tensor:
    """Sums over the carriers of each allele, ``[k, n]`` float64, of ``rows: [k, N]``, given individuals in tiles.

    Of ``K`` islands, whose tiles are ``[K, tile, n]``, rows and sums are ``[K, k, N]`` and ``[K, k, n]``. Where
    this process has loaded a kernel for the device, it adds up: to the same bits, if rows are ``round_for_exact_sum``.
    """
    start, sums = 0, torch.zeros(*rows.shape[:-1], 1, dtype=torch.float64, device=rows.device)
    for x in genotypes:
        part = rows[..., start : start + x.shape[-2]].double()
        on_cpu = kernel.loaded() and x.is_cpu
        if on_cpu or cuda.loaded(x.device):
            by_kernel = kernel.carrier_sums if on_cpu else cuda.carrier_sums
            alone = x.dim() == 2
            sums = sums + (by_kernel(x, part) if alone else torch.stack([*map(by_kernel, x, part)]))
        else:
            sums = sums + part @ x.double()
        start += x.shape[-2]
    return sums


def allele_means(fitness: Tensor, sums: Callable[[Tensor], Tensor]) -> AlleleMeans:
    """Mean fitness of the individuals with and without each allele (Sec. 3.1).

    Args:
        fitness: ``[N]``.
        sums: over the carriers of each allele in the population, as ``carrier_sums``.
    """
    N = fitness.shape[-1]
    rows = round_for_exact_sum(torch.stack([fitness, torch.ones_like(fitness)], dim=-2))
    told, (total, carriers) = rows[..., 0, :], sums(rows).unbind(dim=-2)
    whole = told.sum(dim=-1, keepdim=True)
    return means_of(total, carriers, whole, exact_sum((told - whole / N).square()) / N, N)


def means_of(total: Tensor, carriers: Tensor, whole: Tensor, variance: Tensor, N: int) -> AlleleMeans:
    """From sums of fitness over the carriers of each allele, how many these are, and sums over all ``N``."""
    others = N - carriers
    f = torch.where(carriers > 0, total / carriers, 0.0)
    f_bar = torch.where(others > 0, (whole - total) / others, 0.0)
    return AlleleMeans(f, f_bar, carriers / N, variance, N)
