"""The one style of all figures: told apart without colour, legends that cover nothing, fonts for publishers."""

from io import BytesIO
from itertools import combinations

import pytest

from nne.training.logging import figures


def test_series_differ_in_more_than_colour() -> None:
    looks = [figures.series_style(i) for i in range(20)]
    for one, other in combinations(looks, 2):
        differing = [name for name in ("color", "linestyle", "marker") if one[name] != other[name]]
        assert len(differing) >= 2, (one, other)


@pytest.mark.parametrize("count", [2, 12])
def test_a_legend_takes_nothing_from_the_axes(count: int) -> None:
    figure, axes = figures.new()
    for i in range(count):
        axes.plot([0, 1], [0, i], **figures.series_style(i), label=f"experiment, learner.some_key={i}")
    figures.write(figure, BytesIO(), format="png")
    alone = axes.get_position().height * figure.get_figheight()
    figures.legend(figure, axes)
    figures.write(figure, BytesIO(), format="png")
    assert axes.get_position().height * figure.get_figheight() > 0.9 * alone
    (legend,) = figure.legends
    assert not legend.get_frame_on()
    assert legend.get_window_extent().width <= figure.get_figwidth() * figure.dpi


def test_fonts_are_embedded_as_truetype() -> None:
    figure, axes = figures.new()
    axes.set_title("ε, generation t")
    written = BytesIO()
    figures.write(figure, written, format="pdf")
    assert b"/Type3" not in written.getvalue()
