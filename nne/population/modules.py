"""Credit by module: each is judged in a body whose other modules are average.

A network of filters has a module for each filter, the genes that paint it, and one for each filter and class, the genes
that the class reads it with. Logits are sums over filters, of what the class hears of each. So with ``H_f`` the map of
filter ``f`` in one individual and ``R_fc`` its readout for class ``c``, and a bar for the mean over the population,

    filter f is judged by      z_k = m_k + bar R_fk . H_f - mean of that,    the reward of all logits
    readout (f, c) by          z_c = m_c + R_fc . bar H_f - mean of that,    the share of class c

where ``m`` are the logits of the average body. Both are fitness of an individual's module, and neither holds what its
other modules happen to do. This is cooperative coevolution (Potter and De Jong, 2000), whose collaborators are means.
"""

import torch
from torch import Tensor

from nne.fitness import reward, share_of_class
from nne.population.filters import Patterns
from nne.training.models.filters import fields
from nne.training.parts import NetworkConfig


class FilterModules:
    """The modules of many networks at once.

    Args:
        patterns: what genes paint.
        network: where the fields are.
        mean: ``[inputs]``, the mean training image.
        centre: whether logits are centred over the images.
    """

    def __init__(self, patterns: Patterns, network: NetworkConfig, mean: Tensor, centre: bool) -> None:
        self.patterns = patterns
        self.fields = patterns.fields.to(mean.device, torch.float32)
        self.maps = patterns.maps.to(mean.device, torch.float32)
        self.seen = fields(len(mean), network).to(mean.device)
        self.mean = mean
        self.centre = centre

    def rewards(self, x: Tensor, images: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Fitness of each individual and of its modules, ``[1 + F + C F, N]`` float64, in the order of ``part_of``.

        Args:
            x: ``[N, n]`` bool.
            images, labels: ``[B, inputs]`` and ``[B]``.
            temperature: the logits are divided by this.
        """
        own, filters, readouts = self.logits(x, images)
        average = sum(heard.mean(dim=0) for heard in filters)

        def in_average_body(heard: Tensor) -> Tensor:
            return average + (heard - heard.mean(dim=0))

        def mean_reward(logits: Tensor) -> Tensor:
            return reward(logits, labels, temperature).mean(dim=1, dtype=torch.float64)

        by_filter = torch.stack([mean_reward(in_average_body(heard)) for heard in filters])
        shares = [share_of_class(in_average_body(heard) / temperature, labels) for heard in readouts]
        return torch.cat([mean_reward(own)[None], by_filter, torch.stack(shares, dim=1).flatten(0, 1)])

    def logits(self, x: Tensor, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All of ``[N, C, B]`` float32: an individual's own; for each filter, what the average readout hears of its
        map; and what its readouts hear of the average map."""
        places, size = self.seen.shape
        pixels = (images - self.mean)[:, self.seen].permute(2, 1, 0).reshape(size, -1)  # of every field
        genes = self.patterns.of_filters(x), self.patterns.of_classes(x)
        own, filters, readouts = images.new_zeros(()), [], []
        for painted, read, of_filter, of_class in zip(self.fields, self.maps, *genes, strict=True):
            kernels = of_filter.to(painted.dtype) @ painted.T  # [N, r^2]
            readout = (of_class.to(read.dtype) @ read.transpose(1, 2)).transpose(0, 1)  # [N, C, places]
            maps = (kernels @ pixels).relu_().view(len(x), places, len(images))
            own = own + self.centred(readout @ maps)
            filters.append(self.centred(readout.mean(dim=0) @ maps))
            readouts.append(self.centred(readout @ maps.mean(dim=0)))
        return own, filters, readouts

    def centred(self, logits: Tensor) -> Tensor:
        """Over the images, if so configured."""
        return logits - logits.mean(dim=2, keepdim=True) if self.centre else logits
