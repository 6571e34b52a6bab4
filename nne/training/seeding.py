"""Every random choice is a pure function of the seed and of what the choice is for.

No generator state is ever stored: the minibatch of generation 117 is drawn from a generator made for
(seed, "minibatch", 117), so a resumed run, or another worker, draws the very same one.
"""

import hashlib

import torch


def key(seed: int, purpose: str, step: int = 0) -> int:
    """A 63-bit integer that depends on the three arguments and on nothing else."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, purpose: str, step: int = 0) -> torch.Generator:
    """A CPU generator for one purpose, e.g. ``generator(0, "minibatch", 117)``."""
    return torch.Generator().manual_seed(key(seed, purpose, step))
