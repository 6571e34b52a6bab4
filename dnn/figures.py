"""Pictures of a hidden layer."""

from matplotlib.figure import Figure

from dnn.activity import ActivityStats
from nne.training.logging import figures


def overlap(activity: ActivityStats) -> Figure:
    """Of the hidden units that fire for one class, how many fire for another."""
    figure, axes = figures.new(3.8, 3.6)
    figures.grid(axes, activity.overlap.cpu(), "Purples")
    axes.set(xlabel="fire for this class too", ylabel="of the units that fire for this class")
    axes.set_title(f"Shared hidden units, in % ({float(activity.firing.mean()):.1%} of all fire)", fontsize=9)
    return figure
