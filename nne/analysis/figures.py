"""Pictures of an evolving population."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from nne.population.filters import Patterns
from nne.population.weights import Map, WeightMatrix
from nne.training.logging import figures
from nne.training.models.network import Topology


def convergence(history: dict[int, Tensor]) -> Figure:
    """Fig. 2: the share of allele frequencies at least ``x`` away from both 0 and 1, after ``t`` generations."""
    figure, axes = figures.new()
    x = torch.linspace(0, 0.5, 101, dtype=torch.float64)
    colours = figures.shades(len(history))
    for colour, (generation, p) in zip(colours, history.items(), strict=True):
        distance = torch.minimum(p, 1 - p).double().cpu().sort().values
        share = 1 - torch.searchsorted(distance, x, right=True) / len(p)
        axes.plot(x.numpy(), share.numpy(), color=colour, label=f"t = {generation}")
    axes.set(xlabel="distance x of the allele frequency from 0 or 1", ylabel="share of genes beyond x", ylim=(0, 1))
    axes.set_title("Convergence of the allele distribution", fontsize=9)
    figures.legend(figure, axes, columns=5)
    return figure


def trajectories(paths: dict[int, Tensor]) -> Figure:
    """Frequencies of a few alleles, ``[loci]`` by generation: most end at 0 or 1, where they stay."""
    figure, axes = figures.new()
    generations, p = list(paths), torch.stack(list(paths.values())).cpu()
    to_one = p[-1] > 0.5
    for ends_high, colour, line in ((True, figures.COLOURS[0], "-"), (False, figures.COLOURS[1], (0, (4, 1)))):
        ends = p[:, to_one == ends_high].numpy()
        axes.plot(generations, ends, color=colour, linestyle=line, linewidth=0.7, alpha=0.7)
    axes.set(xlabel="generation t", ylabel="allele frequency p", ylim=(-0.02, 1.02))
    axes.set_title(f"Trajectories of {p.shape[1]} alleles", fontsize=9)
    return figure


def fields_of(topology: Topology, W: WeightMatrix, p: Tensor, rows: int = 3, columns: int = 10) -> Tensor:
    """A sheet of the input weights of those hidden units of ``W p`` that have the strongest weights to the layer above.

    A unit sees a tenth of the pixels, scattered: each field is averaged over 5 x 5 pixels to show where it is for and
    where against. Fields are scaled one by one to [-1, 1]; between them the sheet is NaN.
    """
    pixels = topology.first.sources - topology.lit
    side = int(pixels**0.5)
    fields, above, *_ = (matrix[0] for matrix in topology.matrices(W.weights(p.cpu()[None]).T))
    strength = above.norm(dim=0)
    fields = fields[:, :pixels]
    chosen = fields[strength.argsort(descending=True)[: rows * columns]].view(-1, 1, side, side)
    smooth = torch.nn.functional.avg_pool2d(chosen, 5, stride=1, padding=2)[:, 0]
    smooth = smooth / smooth.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    missing = -len(smooth) % columns
    tiles = torch.nn.functional.pad(smooth, (0, 2, 0, 2, 0, missing), value=torch.nan)
    return tiles.view(-1, columns, side + 2, side + 2).transpose(1, 2).reshape(-1, columns * (side + 2))


def receptive_fields(topology: Topology, W: WeightMatrix, p: Tensor, generation: int) -> Figure:
    """What the hidden units of the mean network ``W p`` look for."""
    sheet = fields_of(topology, W, p)
    figure, axes = figures.new(6.0, 6.0 * sheet.shape[0] / sheet.shape[1] + 0.3)
    axes.imshow(sheet.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_axis_off()
    axes.set_title(f"Receptive fields of W p after {generation} generations: red for, blue against", fontsize=9)
    return figure


def painted(patterns: Patterns, p: Tensor, g: Map) -> Tensor:
    """The first layer's filters in ``g(W p)`` side by side, each scaled to [-1, 1]; between them the sheet is NaN."""
    first = patterns.fields[0]
    count, _, size, _ = first.shape
    side = int(size**0.5)
    genes = patterns.of_filters(p.cpu().double()[None])[0][:, 0, 0, :, None]
    kernels = g(first[:, 0] @ genes).view(count, side, side)
    kernels = kernels / kernels.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return torch.nn.functional.pad(kernels, (0, 1, 0, 1), value=torch.nan).transpose(0, 1).flatten(1)


def filters(patterns: Patterns, first: Tensor, p: Tensor, generation: int, g: Map) -> Figure:
    """What genes paint in the mean network ``g(W p)``: each filter as it began, and below it as it is."""
    sheet = torch.cat([painted(patterns, first, g), painted(patterns, p, g)])
    figure, axes = figures.new(0.6 * len(patterns.fields[0]) + 0.4, 1.7)
    axes.imshow(sheet.numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_axis_off()
    axes.set_title(f"Filters of W p at first, and after {generation} generations", fontsize=9)
    return figure


def against_target(w: Tensor, a: Tensor, generation: int) -> Figure:
    """The weights ``W p`` and the target's ``a``, input by input."""
    figure, axes = figures.new(3.6, 3.4)
    limit = 1.05 * float(torch.cat([w, a]).abs().max())
    axes.plot([-limit, limit], [-limit, limit], color="#999999", linewidth=0.8)
    axes.scatter(a.cpu().numpy(), w.cpu().numpy(), s=10)
    axes.set(xlabel="target a", ylabel="W p", xlim=(-limit, limit), ylim=(-limit, limit))
    axes.set_title(f"After {generation} generations", fontsize=9)
    return figure
