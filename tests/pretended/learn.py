"""One learner on the CPU and on a pretended GPU: ``python -m tests.pretended.learn experiment=NAME ...``, as JSON.

Constructed, stepped, evaluated, saved, loaded into another and stepped on; then with the waits, uploads and operations
of a step.
"""

import json
import os
import sys
from typing import Any

from tests.pretended import device as gpu  # first, before torch

import torch

from nne.registry import build, composed
from nne.training import data, device
from nne.training.io.checkpoint import state_sha256

STEPS = 3


def learnt(config: Any) -> tuple[str, str, dict[str, float]]:
    """Fingerprints after some steps, and after as many more in another learner; and what is measured."""
    compute = device.choose(config.device, config.precision)
    images = data.load(config.images, config.seed) if config.data else data.NOTHING
    images = images.to(compute.device)
    learner, other = (build(config, images, compute) for _ in range(2))
    for _ in range(STEPS):
        learner.step()
    measured = learner.evaluate(images.test_images[:50], images.test_labels[:50])
    saved = {name: tensor.cpu() for name, tensor in learner.state_dict().items()}
    other.load_state_dict(saved)
    first = state_sha256(learner.state_dict())
    other.step()  # the first of a learner sends what later ones have
    gpu.counts.clear()
    for _ in range(STEPS):
        other.step()
        other.reason_to_stop()
    gpu.counts.pause()
    return first, state_sha256(other.state_dict()), measured


def main() -> None:
    """Learn twice, and compare."""
    torch.set_num_threads(1)
    config = composed(*sys.argv[1:], "backend=torch", "dtype=float32", "device=cpu")
    on_cpu = learnt(config)
    config = composed(*sys.argv[1:], "backend=torch", "dtype=float32", "device=cuda")
    with gpu.pretended() as counts:
        on_gpu = learnt(config)
        result = {
            "same": on_cpu == on_gpu,
            "waits": sum(counts.waits.values()) / STEPS,
            "uploads": sum(counts.uploads.values()) / STEPS,
            "operations": counts.operations / STEPS,
            "where": {line: count for line, count in (counts.waits + counts.uploads).items() if count},
        }
    print(json.dumps(result), flush=True)
    os._exit(0)  # autograd's thread for a GPU that is not there may abort the process as Python ends


if __name__ == "__main__":
    main()
