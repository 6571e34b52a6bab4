"""The networks that a configuration describes, and what evaluates them: PyTorch, C++ or CUDA."""

import logging
from dataclasses import replace

import torch
from torch import Tensor

from nne.parts import parts_by_class
from nne.population.base import Networks
from nne.population.cpp import kernel, verification
from nne.population.cpp.networks import KernelPopulation
from nne.population.cuda import verification as cuda_verification
from nne.population.cuda.networks import CudaPopulation
from nne.population.filters import Patterns, drawn_patterns, filter_topology, painted_matrix, part_of
from nne.population.module import ModulePopulation
from nne.population.torch import Population
from nne.population.weights import WeightMatrix, apart_by_class, sparse_weight_matrix
from nne.training.config import Config
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.errors import UserError, require
from nne.training.models.network import Topology, load_module, sparse_topology

log = logging.getLogger(__name__)


def with_backend(config: Config, compute: Compute) -> Compute:
    """What evaluates populations: by default the project's own kernels, in C++ (float32) or CUDA (bfloat16), where they
    can be had, can do what is asked, and have been found right and no slower than PyTorch; else PyTorch.

    A run that is resumed goes on with what it began with.

    Raises:
        UserError: ``backend=cpp`` or ``backend=cuda`` is asked for, and cannot be.
    """
    own = "cuda" if compute.device.type == "cuda" else "cpp"
    asked = config.backend
    if asked == "auto" and compute.began_with in ("torch", own):
        asked = compute.began_with
    if asked == "torch" or (asked == "auto" and not _computes(own, config.dtype)):
        return compute
    wanted = own if asked == "auto" else asked
    why = config.learner.beyond_kernels(config) or _missing(wanted, config.dtype, compute.device)
    if why is None and asked == "auto":
        of_cpp = own == "cpp"
        why = verification.objection(compute.dtype) if of_cpp else cuda_verification.objection(compute.device)
    if why is None and wanted == "cpp":
        return replace(compute, dtype=torch.float32, backend="cpp", instructions=kernel.instructions())
    if why is None:
        return replace(compute, dtype=torch.bfloat16, backend="cuda")
    require(asked == "auto", f"backend={asked} cannot be had: {why}; use backend=torch or backend=auto")
    log.info("populations are evaluated by PyTorch, not by the project's own kernel: %s", why)
    return compute


def _computes(backend: str, dtype: str) -> bool:
    """Whether a kernel computes in what is asked for."""
    return dtype in ("auto", {"cpp": "float32", "cuda": "bfloat16"}[backend])


def _missing(backend: str, dtype: str, device: torch.device) -> str | None:
    """Why a kernel cannot be had, if so."""
    if backend == "cuda":
        unlike = None if _computes(backend, dtype) else "it multiplies in bfloat16, on a GPU"
        return unlike or cuda_verification.missing(device)
    right = device.type == "cpu" and _computes(backend, dtype)
    return kernel.load() if right else "it computes in float32 on the CPU"


def populations(config: Config, data: Dataset, compute: Compute) -> tuple[Networks, Networks]:
    """The networks that a configuration describes: for the training images alone, and for any images.

    The first forgets genes that are frozen; where it forgets nothing and sees every pixel, the two are one.
    """
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
    topology, W = blueprint(config, data)

    def sparse(seen: Tensor, backend: str) -> Networks:
        if backend == "cpp":
            return KernelPopulation(topology, W, seen)
        if backend == "cuda":
            return CudaPopulation(topology, W, seen, compute.device)
        return Population(topology, W, seen, compute.device, compute.dtype, network.cap)

    every_pixel = torch.ones(topology.first.sources, dtype=torch.bool)
    seen = data.train_images.amax(dim=0) > 0  # not zero in every image
    if network.filters or config.images.jitter:
        seen = every_pixel
    try:
        everything = sparse(every_pixel, compute.backend)
    except UserError as error:
        require(config.backend == "auto", f"backend=cuda cannot be had: {error}; use backend=auto")
        log.warning("populations are evaluated by PyTorch, not by the project's own kernel: %s", error)
        everything = sparse(every_pixel, "torch")
    whole = learner_config.freeze is None or learner_config.credit == "module"
    alike = bool(seen.all()) and whole
    return (everything if alike else sparse(seen, everything.backend)), everything


def blueprint(config: Config, data: Dataset) -> tuple[Topology, WeightMatrix]:
    """Who is linked to whom, and how genes make the weights of these links."""
    network, learner_config, classes, seed = config.network, config.learner, len(data.classes), config.seed
    assert network is not None
    inputs = data.train_images.shape[1]
    if network.filters:
        mean = data.train_images.double().mean(dim=0).cpu()
        g = learner_config.expression
        own = None if g == "identity" else mean.to(data.train_images)
        topology = filter_topology(inputs, network, classes, own)
        return topology, painted_matrix(patterns(config, classes), network, mean, g)
    topology = sparse_topology(inputs, network, classes, seed)
    beta, g, each = network.beta, learner_config.expression, learner_config.class_genes
    hidden, edges, links = learner_config.hidden_genes(classes), topology.edges, topology.links
    if each:
        return topology, apart_by_class(edges, links - edges, classes, hidden, each, beta, seed, g)
    return topology, sparse_weight_matrix(links, learner_config.genes, beta, seed, g)


def parts(config: Config, painted: Patterns | None, classes: int) -> Tensor | None:
    """Whose fitness counts for each gene, ``[n]``; None: the individual's own, for all."""
    learner_config = config.learner
    if learner_config.credit == "total":
        return None
    if painted:
        return part_of(painted, learner_config.credit)
    return parts_by_class(hidden_genes(config, painted, classes), classes, learner_config.class_genes)


def hidden_genes(config: Config, painted: Patterns | None, classes: int) -> int:
    """How many genes, the first, act on hidden layers; where classes have genes of their own, on these alone."""
    return painted.hidden if painted else int(config.learner.hidden_genes(classes))


def patterns(config: Config, classes: int) -> Patterns:
    """What the genes of ``network.filters`` paint."""
    network, learner_config = config.network, config.learner
    assert network is not None
    readout_genes = learner_config.readout_genes(network, classes)
    filter_genes, smooth = learner_config.genes_of_filters, learner_config.smooth
    return drawn_patterns(network, filter_genes, readout_genes, smooth, classes, config.seed)
