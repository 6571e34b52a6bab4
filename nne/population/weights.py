"""Gene expression: the weights of an individual are ``W x``, a fixed sparse linear function of its genes (Sec. 2).

They may also be a non-linear function of it, ``g(W x)`` link by link (Sec. 4, item 1).
``W: [m, n]`` has i.i.d. entries, uniform in [-1, 1] with probability ``beta`` and 0 otherwise. It is held row by
row (CSR): row ``l`` lists the genes that touch link ``l``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from nne.population.layout import ABSENT
from nne.training import plugin
from nne.training.device import send
from nne.training.errors import require
from nne.training.seeding import generator

Map = Callable[[Tensor], Tensor]


def identity(weights: Tensor) -> Tensor:
    """``g(w) = w``, the paper's."""
    return weights


EXPRESSIONS: dict[str, Map] = {
    "identity": identity,
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
}
"""What ``g`` may be; each may work in place."""


def chosen_expression(choice: str | Map) -> Map:
    """``g`` by its name in ``EXPRESSIONS``, by its dotted path, or itself, checked on six weights.

    Raises:
        UserError: there is no such function, or it does not give a finite weight for each.
    """

    def probe(g: Map) -> None:
        weights = g(torch.linspace(-2, 2, 6).view(3, 2))
        right = isinstance(weights, Tensor) and weights.shape == (3, 2) and bool(weights.isfinite().all())
        require(right, f"it gave {weights}, not a finite weight for each")

    expected = "a function g(weights) -> weights, weight by weight"
    g: Map = plugin.chosen("expression", choice, EXPRESSIONS, expected, probe)
    return g


@dataclass(frozen=True)
class WeightMatrix:
    """The sparse weight generation matrix ``W``: ``offsets: [m + 1]``, ``genes, values: [nonzeros]``, and ``g``."""

    n: int
    offsets: Tensor
    genes: Tensor
    values: Tensor
    g: Map = identity

    def rows(self, links: Tensor) -> "WeightMatrix":
        """The matrix whose row ``s`` is row ``links[s]`` of this one, or empty where ``links[s]`` is ``ABSENT``."""
        count = torch.where(links == ABSENT, 0, self.offsets.diff()[links])
        offsets = torch.cat([count.new_zeros(1), count.cumsum(0)])
        shift = torch.repeat_interleave(self.offsets[links] - offsets[:-1], count)
        at = torch.arange(int(offsets[-1])) + shift
        return replace(self, offsets=offsets, genes=self.genes[at], values=self.values[at])

    def to(self, device: torch.device, dtype: torch.dtype) -> "WeightMatrix":
        """The same matrix, ready to be applied on ``device`` in ``dtype``."""
        offsets, genes = (send(index.int(), device) for index in (self.offsets, self.genes))
        return replace(self, offsets=offsets, genes=genes, values=send(self.values.to(dtype), device))

    def folded(self, p: Tensor, free: Tensor) -> "WeightMatrix":
        """The matrix for genotypes of the ``free`` genes alone, ``[n_free]`` indices in order, followed by a 1.

        What the other genes contribute, as they are in ``p: [n]``, becomes the column of that last gene, which
        everybody carries.
        """
        place = torch.full((self.n,), ABSENT).index_put((free,), torch.arange(len(free)))
        varies = place[self.genes] != ABSENT
        still = replace(self, values=torch.where(varies, 0, self.values), g=identity)
        row = torch.repeat_interleave(torch.arange(len(self.offsets) - 1), self.offsets.diff())[varies]
        links = torch.arange(len(self.offsets) - 1)
        order = torch.cat([row, links]).argsort(stable=True)
        genes = torch.cat([place[self.genes[varies]], torch.full_like(links, len(free))])[order]
        values = torch.cat([self.values[varies], still.weights(p[None])[:, 0]])[order]
        offsets = torch.cat([links[:1], torch.bincount(row, minlength=len(links)).add_(1).cumsum(0)])
        return replace(self, n=len(free) + 1, offsets=offsets, genes=genes, values=values)

    def weights(self, x: Tensor) -> Tensor:
        """``g(W x^T): [m, N]`` for genotypes (or allele frequencies) ``x: [N, n]``, link by link."""
        genotypes = x.T.to(self.values.dtype).contiguous()
        linear = embedding_bag(
            self.genes,
            genotypes,
            self.offsets,
            mode="sum",
            per_sample_weights=self.values,
            include_last_offset=True,
        )
        return self.g(linear)

    def dense(self) -> Tensor:
        """``W: [m, n]`` in full, for small networks and for checking."""
        full = torch.zeros(len(self.offsets) - 1, self.n, dtype=self.values.dtype)
        link = torch.repeat_interleave(torch.arange(len(full)), self.offsets.diff())
        return full.index_put((link, self.genes.long()), self.values, accumulate=True)


def sparse_weight_matrix(
    links: int, n: int, beta: float, seed: int, expression: str = "identity", name: str = "weight matrix"
) -> WeightMatrix:
    """Draw ``W``: each entry is non-zero with probability ``beta`` and then uniform in [-1, 1] (Sec. 2).

    Matrices of other names are drawn independently.
    """
    stream = generator(seed, name)
    # The gaps between non-zero entries of i.i.d. Bernoulli(beta) cells are geometric: no m x n array is needed.
    cells = links * n
    expected = cells * beta
    count = int(expected + 12 * (expected + 1) ** 0.5) + 16
    gaps = torch.empty(count, dtype=torch.float64).geometric_(beta, generator=stream) if beta < 1 else torch.ones(cells)
    cell = gaps.long().cumsum(0) - 1
    cell = cell[cell < cells]
    values = torch.rand(len(cell), generator=stream, dtype=torch.float64) * 2 - 1
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(cell // n, minlength=links).cumsum(0)])
    return WeightMatrix(n, offsets, cell % n, values, chosen_expression(expression))


def apart_by_class(
    edges: int, outputs: int, classes: int, hidden: int, class_genes: int, beta: float, seed: int, expression: str
) -> WeightMatrix:
    """``W`` whose genes act on hidden layers, or on the output weights of one class: less pleiotropy.

    Genes are those of hidden layers, then those of class after class. An output weight is touched by as many as an
    edge is, on average, or by all of its class's, if they are fewer.

    Args:
        edges: links into hidden layers.
        outputs: output weights, a multiple of ``classes``.
        hidden, class_genes: genes of hidden layers, and of each class.
    """
    below = sparse_weight_matrix(edges, hidden, beta, seed, expression)
    density = min(beta * hidden / class_genes, 1.0)
    above = sparse_weight_matrix(outputs, class_genes, density, seed, expression, "weight matrix of classes")
    of_class = torch.repeat_interleave(torch.arange(outputs) % classes, above.offsets.diff())
    offsets = torch.cat([below.offsets, below.offsets[-1] + above.offsets[1:]])
    genes = torch.cat([below.genes, above.genes + hidden + of_class * class_genes])
    return WeightMatrix(
        hidden + classes * class_genes, offsets, genes, torch.cat([below.values, above.values]), below.g
    )
