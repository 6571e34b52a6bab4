"""How every figure of the project looks: small, quiet, legible in print; drawn without a display."""

from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from cycler import cycler
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
"""Told apart by colour-blind readers, too (Okabe and Ito)."""
LINES, MARKERS = ("-", "--", "-.", ":"), "osD^vPX"
PAPER = "#555555"  # the paper's own values, wherever they stand beside ours
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "grid.alpha": 0.25,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "figure",
}
DPI = 140
ROW = 0.16  # inches, of a legend


def series_style(i: int) -> dict[str, Any]:
    """Colour, line and marker of the ``i``-th series: after the last colour, lines and markers change."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": LINES[(i % len(COLOURS) + i // len(COLOURS)) % len(LINES)],
        "marker": MARKERS[(i + 2 * (i // len(COLOURS))) % len(MARKERS)],
        "markersize": 3.5,
        "linewidth": 1.2,
    }


def legend(figure: Figure, axes: Axes, columns: int = 3, place: str = "lower center") -> None:
    """Names of the series, under the axes, which lose nothing to them: the figure grows by what they need."""
    lines, names = axes.get_legend_handles_labels()
    if names:
        where: Any = f"outside {place}"
        columns = max(min(columns, len(names), int(20 * figure.get_figwidth()) // max(map(len, names))), 1)
        figure.set_figheight(figure.get_figheight() + ROW * -(-len(names) // columns))
        figure.legend(lines, names, fontsize=7, loc=where, ncols=columns, frameon=False)


def reference_line(axes: Axes, value: float, name: str) -> None:
    """A horizontal line with its name written on it."""
    axes.axhline(value, color=PAPER, linestyle=(0, (5, 3)), linewidth=0.9)
    across = axes.get_yaxis_transform()  # x as a share of the axes, y in the data's units
    axes.text(0.99, value, name, transform=across, ha="right", va="bottom", fontsize=7, color=PAPER)


def write(figure: Figure, path: Path | BinaryIO | TextIO, **how: Any) -> None:
    """As a file, with fonts that a publisher can read."""
    with rc_context(STYLE):
        figure.savefig(path, **how)


def new(width: float = 4.6, height: float = 3.2) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, sizes in inches. It belongs to no window and needs no closing."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        return figure, figure.add_subplot()


def pair(width: float = 7.2, height: float = 3.2) -> tuple[Figure, tuple[Axes, Axes]]:
    """A figure with two pairs of axes side by side."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        left, right = figure.subplots(1, 2)
        return figure, (left, right)


def shades(count: int) -> list[tuple[float, float, float, float]]:
    """Colours for an ordered series, dark to light."""
    return [colormaps["viridis"](0.9 * i / max(count - 1, 1)) for i in range(count)]


def saved(figure: Figure, path: Path, what: str) -> str:
    """Write a figure, in a folder that is made if need be; gives the line that tells the user where, or why not."""
    try:
        path.parent.mkdir(exist_ok=True)
        write(figure, path)
    except OSError as error:
        return f"{what} is not drawn: {path} cannot be written ({error.strerror})"
    return f"{what} is in {path}"


def confusion(counts: Tensor, title: str) -> Figure:
    """The confusion matrix, as shares of the true class: ``counts: [C, C]``, a row for each true class."""
    figure, axes = new(3.8, 3.6)
    shares = (counts / counts.sum(dim=1, keepdim=True)).cpu()
    accuracy = float(counts.diagonal().sum() / counts.sum())
    grid(axes, shares, "Blues", least=0.005)
    axes.set(xlabel="predicted", ylabel="true class")
    axes.set_title(f"{title}: {accuracy:.1%} (in %)", fontsize=9)
    return figure


def thumbnail(colour: NDArray[np.float64], largest: int = 150) -> NDArray[np.float64]:
    """``[height, width, 3]`` with fewer pixels."""
    step = -(-max(colour.shape[:2]) // largest)
    return colour[::step, ::step]


def side_by_side(pairs: list[tuple[NDArray[np.float64], Tensor]], titles: list[str]) -> Figure:
    """Pictures ``[height, width, 3]`` as they were given and as ``[28, 28]``, three pairs a row, under their titles."""
    columns = min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(2.4 * columns, 1.4 * rows), dpi=DPI, layout="constrained")
        places = figure.subplots(rows, 2 * columns, squeeze=False).flatten()
    for axes in places:
        axes.set_axis_off()
    for i, ((given, seen), title) in enumerate(zip(pairs, titles, strict=True)):
        places[2 * i].imshow(given.clip(0, 1))
        places[2 * i + 1].imshow(seen.cpu().numpy(), cmap="gray", vmin=0, vmax=1)
        places[2 * i + 1].set_title(title, fontsize=8)
    return figure


def grid(axes: Axes, shares: Tensor, colours: str, least: float = 0.0) -> None:
    """A square of shares as colours, with their percentages written in where they are ``least`` or more."""
    axes.imshow(shares.numpy(), cmap=colours, vmin=0, vmax=1)
    for row, values in enumerate(shares.tolist()):
        for column, share in enumerate(values):
            if share >= least:
                colour = "white" if share > 0.5 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=colour)
    axes.grid(False)
    axes.set(xticks=range(len(shares)), yticks=range(len(shares)))
