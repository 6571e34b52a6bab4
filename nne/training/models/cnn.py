"""A small convolutional network for 28 x 28 images, as an example of ``network.module``."""

import torch
from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Two strided convolutions with ReLU and a linear layer: 5,386 parameters for ten classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, kernel_size=5, stride=2)
        self.second = nn.Conv2d(8, 16, kernel_size=3, stride=2)
        self.outputs = nn.Linear(16 * 5 * 5, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, C]`` of images ``[B, 784]``."""
        h = torch.relu(self.first(images.view(-1, 1, 28, 28)))
        h = torch.relu(self.second(h))
        logits: Tensor = self.outputs(h.flatten(1))
        return logits
