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

from nne.fitness import centred, reward, share_of_class
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
        self.frozen = network.frozen
        self.seen = fields(len(mean), network).to(mean.device)
        self.mean = mean
        self.centre = centre

    def needs(self, individuals: int, images: int) -> int:
        """Bytes that a generation keeps at once: maps of one filter twice, and what is heard of every module."""
        filters, count, _, _ = self.fields.shape
        heard = self.maps.shape[1] * filters * (1 + count)
        return 4 * individuals * images * (2 * len(self.seen) + heard)

    def rewards(self, x: Tensor, images: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Fitness of each individual and of its modules, ``[K, N]`` float64: its own, and in the order of ``part_of``.

        Args:
            x: ``[N, n]`` bool.
            images, labels: ``[B, inputs]`` and ``[B]``.
            temperature: the logits are divided by this.
        """
        own, fields, readouts = self.logits(x, images)
        average = torch.stack([heard.mean(dim=0) for heard in readouts]).sum(dim=0)

        def in_average_body(heard: Tensor) -> Tensor:
            return average + (heard - heard.mean(dim=0))

        def mean_reward(logits: Tensor) -> Tensor:
            return reward(logits, labels, temperature).mean(dim=1, dtype=torch.float64)

        by_field = [mean_reward(in_average_body(heard)).expand(len(x)) for heard in fields]
        shares = [share_of_class(in_average_body(heard) / temperature, labels) for heard in readouts]
        return torch.cat([mean_reward(own)[None], torch.stack(by_field), torch.stack(shares, dim=1).flatten(0, 1)])

    def logits(self, x: Tensor, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All of ``[N, C, B]`` float32: an individual's own; what the average readout hears of each filter, or of each
        field; and what its readouts hear of each filter's average map. Of frozen filters, nobody's own: ``[1, C, B]``.
        """
        places, size = self.seen.shape
        pixels = (images - self.mean)[:, self.seen].permute(1, 2, 0)  # [places, r^2, B]
        at_once = pixels.transpose(0, 1).reshape(size, -1)
        genes = self.patterns.of_filters(x[:1] if self.frozen else x), self.patterns.of_classes(x)
        own, fields, readouts = images.new_zeros(()), [], []

        def heard(logits: Tensor) -> Tensor:
            return centred(logits) if self.centre else logits

        for painted, read, of_filter, of_class in zip(self.fields, self.maps, *genes, strict=True):
            kernels = of_filter.to(painted.dtype) @ painted.transpose(1, 2)  # [fields, N, r^2]
            readout = (of_class.to(read.dtype) @ read.transpose(1, 2)).transpose(0, 1)  # [N, C, places]
            average_readout = readout.mean(dim=0)
            if len(painted) == 1:
                maps = (kernels[0] @ at_once).relu_().view(-1, places, len(images))
                fields.append(heard(average_readout @ maps))
            else:
                maps = (kernels @ pixels).relu_().transpose(0, 1)
                of_each = zip(average_readout.T[:, None, :, None], maps.transpose(0, 1)[:, :, None], strict=True)
                fields += [heard(weight * activity) for weight, activity in of_each]
            own = own + heard(readout @ maps)
            readouts.append(heard(readout @ maps.mean(dim=0)))
        return own, fields, readouts
