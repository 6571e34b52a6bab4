"""Credit by module: each is judged in a body whose other modules are average.

A network of filters has a module for each filter, the genes that paint it, and one for each filter and class, the genes
that the class reads it with. Logits are sums over filters, of what the class hears of each. So with ``H_f`` the map of
filter ``f`` in one individual and ``R_fc`` its readout for class ``c``, and a bar for the mean over the population,

    filter f is judged by      z_k = m_k + bar R_fk . H_f - mean of that,    the reward of all logits
    readout (f, c) by          z_c = m_c + R_fc . bar H_f - mean of that,    the share of class c

where ``m`` are the logits of the average body. Both are fitness of an individual's module, and neither holds what its
other modules happen to do. This is cooperative coevolution (Potter and De Jong, 2000), whose collaborators are means.

With a cap, as in the average body: a unit fires if it is as active as the last that does there.

In two layers, a filter of the second sees the average maps of the first; and one of the first is judged by the logits
of an average second layer that sees its map in place of the average one.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from nne.fitness import centred, reward, share_of_class
from nne.population.filters import Patterns
from nne.population.weights import Map, identity
from nne.training.models.filters import seen_by
from nne.training.models.plain import most_active
from nne.training.parts import NetworkConfig


class Heard(NamedTuple):
    """Logits of a generation, each ``[N, C, B]`` float32; ``[1, C, B]`` of filters that are frozen, nobody's own.

    own: an individual's.
    below: of two layers, an average second layer's that sees one filter of the first as it is, filter by filter.
    filters: what average readouts hear of each filter of the last layer, or of each field, if not shared.
    readouts: what an individual's readouts hear of each of the last layer's average maps.
    """

    own: Tensor
    below: list[Tensor]
    filters: list[Tensor]
    readouts: list[Tensor]


class FilterModules:
    """The modules of many networks at once.

    Args:
        patterns: what genes paint.
        network: where the fields are.
        mean: ``[inputs]``, the mean training image.
        centre: whether logits are centred over the images.
        g: weights are ``g(W x)``.
    """

    def __init__(
        self, patterns: Patterns, network: NetworkConfig, mean: Tensor, centre: bool, g: Map = identity
    ) -> None:
        self.patterns = patterns
        self.fields = [painted.to(mean.device, torch.float32) for painted in patterns.fields]
        self.maps = patterns.maps.to(mean.device, torch.float32)
        self.frozen = network.frozen
        self.cap = network.cap
        self.shared = network.shared
        self.seen = [seen.T.contiguous().to(mean.device) for seen in seen_by(len(mean), network)]  # [r^2, places]
        self.mean = mean
        self.g = g
        self.centre = centre

    def needs(self, individuals: int, images: int) -> int:
        """Bytes that a generation keeps at once: maps and what is seen of them, and what is heard of every module."""
        (first, *second), (seen, *seen_above) = self.fields, self.seen
        filters, classes, _, _ = self.maps.shape
        maps = 2 * seen.shape[1]
        for painted, above in zip(second, seen_above, strict=True):
            maps = seen.shape[1] * len(first) + above.numel() * len(first) + 3 * above.shape[1] * len(painted)
        maps += 4 * seen.shape[1] * len(first) if self.cap else 0
        modules = first[:, :, 0, 0].numel() + sum(len(painted) for painted in second) + filters
        return 4 * individuals * images * (maps + classes * modules)

    def rewards(self, x: Tensor, images: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Fitness of each individual and of its modules, ``[K, N]`` float64: its own, and in the order of ``part_of``.

        Args:
            x: ``[N, n]`` bool.
            images, labels: ``[B, inputs]`` and ``[B]``.
            temperature: the logits are divided by this.
        """
        of = self.logits(x, images)
        average = torch.stack([heard.mean(dim=0) for heard in of.readouts]).sum(dim=0)

        def in_average_body(heard: Tensor) -> Tensor:
            return average + (heard - heard.mean(dim=0))

        def mean_reward(logits: Tensor) -> Tensor:
            return reward(logits, labels, temperature).mean(dim=1, dtype=torch.float64)

        bodies = [*of.below, *map(in_average_body, of.filters)]
        by_filter = [mean_reward(logits).expand(len(x)) for logits in bodies]
        shares = [share_of_class(in_average_body(heard) / temperature, labels) for heard in of.readouts]
        return torch.cat([mean_reward(of.own)[None], torch.stack(by_filter), torch.stack(shares, dim=1).flatten(0, 1)])

    def logits(self, x: Tensor, images: Tensor) -> Heard:
        """What genotypes ``x: [N, n]`` bool, and bodies that are average but for one module, say of ``B`` images."""
        genes = self.patterns.of_filters(x[:1] if self.frozen else x)
        kernels = [
            [self.g(of.float() @ painted.transpose(1, 2)) for of, painted in zip(*layer, strict=True)]  # [K, N, r^2]
            for layer in zip(genes, self.fields, strict=True)
        ]
        reading = zip(self.patterns.of_classes(x), self.maps, strict=True)
        expressed = [self.g(of.float() @ read.transpose(1, 2)) for of, read in reading]
        readouts = [weights.transpose(0, 1) for weights in expressed]  # [N, C, places]
        pixels = self.patches(0, (images - self.mean).T[None])
        if len(kernels) == 1:
            return self.outputs(kernels[0], readouts, pixels, len(images))
        first = torch.stack([*self.activities(kernels[0], pixels, len(images))], dim=1)
        maps = first.view(*first.shape[:2], -1, len(images))  # [N, F, places, B]
        above = torch.stack([flattened(kernel) for kernel in kernels[1]], dim=1)  # [N, F, F_below r^2]
        seen, seen_by_own = self.patches(1, maps.mean(dim=0)), self.patches(1, maps)
        of_own = (above @ seen_by_own).relu_()
        last = self.outputs(kernels[1], readouts, seen, len(images), of_own)
        below = self.through(above.mean(dim=0), seen, seen_by_own, readouts, len(images))
        return last._replace(below=list(below))

    def patches(self, depth: int, maps: Tensor) -> Tensor:
        """What a layer's filters see of maps ``[..., K, cells, B]`` at each place: ``[..., K r^2, places B]``."""
        size, places = self.seen[depth].shape
        seen = maps.index_select(-2, self.seen[depth].flatten())
        return seen.view(*maps.shape[:-3], maps.shape[-3] * size, places * maps.shape[-1])

    def outputs(
        self, kernels: list[Tensor], readouts: list[Tensor], seen: Tensor, images: int, own: Tensor | None = None
    ) -> Heard:
        """Of a last layer that sees the same in everybody.

        Args:
            kernels: of each filter, ``[K, N, r^2]``.
            readouts: of each filter, ``[N, C, places]``.
            seen: ``[K r^2, places B]``.
            images: ``B``.
            own: ``[N, F, places B]``, of an individual's filters on what it sees itself, where that is not the same.
        """
        total, fields, heard = seen.new_zeros(()), list[Tensor](), list[Tensor]()
        activities: Iterable[Tensor] = self.activities(kernels, seen, images)
        if self.cap:
            activities, own = capped(list(activities), self.cap)
        for f, (maps, readout) in enumerate(zip(activities, readouts, strict=True)):
            average_readout = readout.mean(dim=0)
            if self.shared:
                fields.append(self.heard(average_readout @ maps))
            else:
                of_each = zip(average_readout.T[:, None, :, None], maps.transpose(0, 1)[:, :, None], strict=True)
                fields += [self.heard(weight * activity) for weight, activity in of_each]
            total = total + self.heard(readout @ (maps if own is None else own[:, f].view_as(maps)))
            heard.append(self.heard(readout @ maps.mean(dim=0)))
        return Heard(total, [], fields, heard)

    def activities(self, kernels: list[Tensor], seen: Tensor, images: int) -> Iterator[Tensor]:
        """The maps of filters that see the same in everybody, ``[N, places, B]`` each."""
        by_place = seen.view(len(seen), -1, images).transpose(0, 1)
        for kernel in kernels:
            if self.shared:
                yield (flattened(kernel) @ seen).relu_().view(kernel.shape[1], -1, images)
            else:
                yield (kernel @ by_place).relu_().transpose(0, 1)

    def through(
        self, above: Tensor, seen: Tensor, seen_by_own: Tensor, readouts: list[Tensor], images: int
    ) -> Iterator[Tensor]:
        """The logits of an average second layer that sees, of one filter of the first, each individual's own map.

        Args:
            above: ``[F, F_below r^2]``, the average kernels.
            seen: ``[F_below r^2, places B]``, what they see of the average maps.
            seen_by_own: ``[N, F_below r^2, places B]``, and of an individual's.
            readouts: of each filter above.
            images: ``B``.
        """
        excited = above @ seen
        read = torch.cat([readout.mean(dim=0) for readout in readouts], dim=1)  # [C, F places]
        size = len(self.seen[1])
        parts = (torch.split(of, size, dim) for of, dim in ((above, 1), (seen, 0), (seen_by_own, 1)))
        for kernel, average, own in zip(*parts, strict=True):
            there = (kernel @ own).add_(excited - kernel @ average).relu_()
            yield self.heard(read @ there.view(len(there), -1, images))

    def heard(self, logits: Tensor) -> Tensor:
        """Centred over the images, if so configured."""
        return centred(logits) if self.centre else logits


def capped(maps: list[Tensor], cap: int) -> tuple[list[Tensor], Tensor]:
    """What is left of the maps of each filter, ``[N, places, B]``, when only ``cap`` units of the layer fire.

    Returns:
        What is left in the average body, filter by filter: what is as active as the last of the ``cap`` most active
        units of the average. And in an individual's own, ``[N, F, places, B]``.
    """
    together = torch.stack(maps, dim=1)
    average = together.mean(dim=0).flatten(0, 1)
    least = average.topk(cap, dim=0, sorted=False).values.amin(dim=0)
    own = most_active(together.flatten(1, 2), cap, dim=1).view_as(together)
    return [each.masked_fill(each < least, 0) for each in maps], own


def flattened(kernel: Tensor) -> Tensor:
    """A filter's weights map by map, ``[K, N, r^2]``, as ``[N, K r^2]``."""
    return kernel.transpose(0, 1).flatten(1)
