"""The networks that a configuration describes, and what evaluates them: PyTorch, C++ or Triton."""

import logging
from dataclasses import replace

import torch
from torch import Tensor

from nne.population.base import Networks
from nne.population.cpp import kernel, verification
from nne.population.cpp.networks import KernelPopulation
from nne.population.module import ModulePopulation
from nne.population.torch import Population
from nne.population.triton import fused
from nne.population.triton.networks import FusedPopulation
from nne.population.weights import sparse_weight_matrix
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError, require
from nne.training.models.network import load_module, sparse_topology

log = logging.getLogger(__name__)


def with_backend(config: Config, compute: Compute) -> Compute:
    """What evaluates populations: by default the C++ kernel (float32), where it can be had, can do what is asked, and
    has been found right and no slower than PyTorch; else PyTorch. The Triton kernels only where they are asked for.

    A run that is resumed goes on with what it began with.

    Raises:
        UserError: ``backend=cpp`` or ``backend=triton`` is asked for, and cannot be.
    """
    asked, on = config.backend, compute.device
    if asked == "auto" and compute.began_with and on.type == "cpu":
        asked = compute.began_with
    if asked == "torch" or (asked == "auto" and (config.dtype == "bfloat16" or on.type != "cpu")):
        return compute
    wanted = "cpp" if asked == "auto" else asked
    why = config.learner.beyond_kernels(config)
    if wanted == "triton":
        why = why or fused.load(on)
    elif on.type != "cpu" or config.dtype == "bfloat16":
        why = why or "it computes in float32 on the CPU"
    else:
        why = why or kernel.load() or (objection(compute.dtype) if asked == "auto" else None)
    if why is None and wanted == "cpp":
        return replace(compute, dtype=torch.float32, backend="cpp", instructions=kernel.instructions())
    if why is None:
        return replace(compute, backend=wanted)
    require(asked == "auto", f"backend={asked} cannot be had: {why}; use backend=torch or backend=auto")
    log.info("populations are evaluated by PyTorch, not by the C++ kernel: %s", why)
    return compute


def objection(dtype: torch.dtype) -> str | None:
    """Why the kernel, which is loaded, should not be used in place of PyTorch in ``dtype``, if so."""
    try:
        return verification.check(dtype).objection
    except UserError as error:
        return str(error)


def populations(config: Config, data: Dataset, compute: Compute) -> tuple[Networks, Networks]:
    """The networks that a configuration describes: for the training images alone, and for any images."""
    network, learner_config, classes, seed = config.network, config.learner, len(data.classes), config.seed
    assert network is not None
    if network.module:

        def modules() -> Networks:
            module = load_module(network.module or "", data.train_images.shape[1], classes, seed)
            kind = {
                "expression": learner_config.expression,
                "device": compute.device,
                "dtype": compute.dtype,
                "outputs": classes,
            }
            population = ModulePopulation(module, learner_config.genes, network.beta, seed=seed, **kind)
            population.must_run_together(data.train_images[:2], f"network.module={network.module}")
            return population

        return modules(), modules()
    topology = sparse_topology(data.train_images.shape[1], network, classes, seed)
    W = sparse_weight_matrix(topology.links, learner_config.genes, network.beta, seed, learner_config.expression)

    def sparse(seen: Tensor) -> Networks:
        if compute.backend == "cpp":
            return KernelPopulation(topology, W, seen)
        if compute.backend == "triton":
            return FusedPopulation(topology, W, seen, compute.device, compute.dtype)
        return Population(topology, W, seen, compute.device, compute.dtype, network.cap)

    seen = data.train_images.amax(dim=0) > 0  # not zero in every image
    return sparse(seen), sparse(torch.ones_like(seen))
