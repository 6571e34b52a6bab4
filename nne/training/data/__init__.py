"""Images to learn and to be tested on."""

from nne.training.data.datasets import NOTHING, Dataset, load

__all__ = ["NOTHING", "Dataset", "load"]
