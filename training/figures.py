"""How every figure of the project looks: small, quiet, legible in print; drawn without a display."""

from typing import Any

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
DPI = 140
PAPER = "#c1432e"  # the paper's own values, wherever they stand beside ours


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
