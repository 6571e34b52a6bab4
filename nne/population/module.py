"""Evolving any ``torch.nn.Module``: its parameters are a sparse linear function of genes, as in Sec. 2.

population = ModulePopulation(nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2)), genes=500, beta=0.05)
y = population.apply(population.parameters(x), inputs)      # x: [N, 500], inputs: [B, 4] -> y: [N, B, 2]
"""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from nne.population.base import Networks, Tiling
from nne.population.weights import WeightMatrix, sparse_weight_matrix
from nne.training.device import total_memory
from nne.training.errors import UserError, first_line, require, whole, within

MEMORY_SHARE = 1 / 32  # of the device's memory, for the parameters of a tile
TILING = {
    "cpu": Tiling(genotypes=64, gathered=2048, images=128),
    "cuda": Tiling(genotypes=512, gathered=2048, images=1024),
}


class ModulePopulation(Networks):
    """The modules of all genotypes, evaluated together by ``torch.func``.

    Every entry of a matrix or kernel is a link, with the weight ``g(W x) / sqrt(fan-in)``; entries of vectors (biases,
    gains) are links too, and what they weigh is added to the module's own initial values. Buffers stay as they are.

    Args:
        module: maps inputs ``[B, ...]`` to outputs ``[B, C]``; it must not change its own state when it is called, and
            stays as it is: a copy, in evaluation mode, is what is called.
        genes: ``n``.
        beta: probability that a gene touches a link.
        expression: a name in ``nne.population.weights.EXPRESSIONS``.
        outputs: ``C``, where the outputs are the logits of classes.
    """

    def __init__(
        self,
        module: nn.Module,
        genes: int,
        beta: float,
        *,
        seed: int = 0,
        expression: str = "identity",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        outputs: int = 0,
    ) -> None:
        whole("genes", genes, 1)
        within("beta", beta, 0, 1)
        require(any(True for _ in module.parameters()), f"{type(module).__name__} has no parameters to evolve")
        self.device = torch.device(device)
        self.dtype = dtype
        self.module = deepcopy(module).to(self.device, dtype).eval().requires_grad_(False)
        self.shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
        self.initial = {name: value for name, value in self.module.named_parameters() if value.dim() < 2}
        links = sum(shape.numel() for shape in self.shapes.values())
        self.rows = sparse_weight_matrix(links, genes, beta, seed, expression)
        self.use(self.rows)
        memory = int(total_memory(self.device) * MEMORY_SHARE)
        self.tiling = TILING[self.device.type].within(links, dtype.itemsize, memory)
        self.block = self.tiling.genotypes
        self.classes = outputs

    def use(self, W: WeightMatrix) -> None:
        """Express genotypes by this matrix."""
        self.W = W.to(self.device, self.dtype)

    def parameters(self, x: Tensor) -> dict[str, Tensor]:
        """The parameters of every genotype ``x: [N, n]``, by name, ``[N, *shape]``."""
        parts = torch.split(self.W.weights(x).T, [shape.numel() for shape in self.shapes.values()], dim=1)
        parameters = {}
        for part, (name, shape) in zip(parts, self.shapes.items(), strict=True):
            weights = part.reshape(-1, *shape)
            parameters[name] = weights + self.initial[name] if name in self.initial else weights / fan_in(shape) ** 0.5
        return parameters

    def apply(self, parameters: dict[str, Tensor], inputs: Tensor, *, shared: bool = True) -> Tensor:
        """Outputs ``[N, B, ...]`` for inputs ``[B, ...]``, or ``[N, B, ...]`` if they are not shared."""

        def one(weights: dict[str, Tensor], given: Tensor) -> Tensor:
            answer: Tensor = functional_call(self.module, weights, (given,))
            return answer

        answers: Tensor = vmap(one, in_dims=(0, None if shared else 0))(parameters, inputs.to(self.dtype))
        return answers

    def must_run_together(self, images: Tensor, where: str) -> None:
        """Raise ``UserError`` if the modules of two genotypes cannot be evaluated together, ``where`` it is named."""
        x = torch.zeros(2, self.W.n, dtype=torch.bool, device=self.device)
        try:
            self.logits(x, self.gather(images))
        except RuntimeError as error:
            why = f"torch.func.vmap cannot run it for many genotypes at once: {first_line(error)}"
            raise UserError(f"{where}: {why}") from error

    def dense_forward(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """By the same ``torch.func``."""
        parameters = self.parameters(x)
        return lambda images: self.apply(parameters, images).float().transpose(1, 2)

    def as_module(self, x: Tensor) -> nn.Module:
        """A copy, in float32, with these parameters."""
        module = deepcopy(self.module).float().cpu()
        module.load_state_dict({name: value[0] for name, value in self.parameters(x[None]).items()}, strict=False)
        return module

    def gather(self, images: Tensor) -> Sequence[Tensor]:
        """Chunks of images."""
        return torch.split(images.to(self.dtype), self.tiling.images)

    def logits(self, x: Tensor, seen: Sequence[Tensor]) -> Tensor:
        """``[N, C, B]`` float32 of one tile of genotypes."""
        parameters = self.parameters(x)
        return torch.cat([self.apply(parameters, chunk).float() for chunk in seen], dim=1).transpose(1, 2)


def fan_in(shape: torch.Size) -> int:
    """Inputs of a unit of a matrix ``[units, inputs]`` or of a kernel ``[units, inputs, ...]``."""
    return shape[1:].numel()
