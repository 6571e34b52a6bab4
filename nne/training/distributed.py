"""Several processes that train one learner: `torchrun --nproc-per-node=K scripts/train.py ...`, on one machine or many.

Every worker holds the whole learner and does its share of a step's work; what they found is put together, and all make
the same update. No random state and no parameters are sent, so there is nothing to fall out of step, and the bits of
the result do not depend on how many workers there are. The first one alone keeps records.
"""

import atexit
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from nne.training.errors import UserError


class WorkerGoneError(UserError):
    """Another process of the group has ended; its own words say why."""


@dataclass(frozen=True)
class Workers:
    """Who of how many this process is."""

    rank: int = 0
    count: int = 1

    def shard(self, items: int, block: int) -> range:
        """The items of this worker: whole blocks, shared out as evenly as they can be."""
        blocks = -(-items // block)
        first, last = (min(blocks * r // self.count * block, items) for r in (self.rank, self.rank + 1))
        return range(first, last)

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """What all have found, given zeros wherever a worker did not look: no sum ever rounds."""
        return tensor if self.count == 1 else self._call(dist.all_reduce, tensor)

    def broadcast(self, value: int = 0) -> int:
        """The first worker's value, once everybody is here."""
        return value if self.count == 1 else int(self._call(dist.broadcast, torch.tensor(value), 0))

    def _call(self, operation: object, tensor: Tensor, *arguments: int) -> Tensor:
        try:
            operation(tensor, *arguments)  # type: ignore[operator]
        except RuntimeError as error:
            raise WorkerGoneError("another worker is gone; go on from the last checkpoint by resume=") from error
        return tensor


SINGLE_PROCESS = Workers()


def init_distributed() -> Workers:
    """This process among those that torchrun started, or alone."""
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        return SINGLE_PROCESS
    rank = int(os.environ["RANK"])
    if not dist.is_initialized():
        # torchrun keeps its store over a restart, and in it the addresses of workers that are no more.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store, _, _ = next(rendezvous("env://"))
        backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo"
        dist.init_process_group(backend, store=PrefixStore(f"attempt {attempt}", store), rank=rank, world_size=count)
        atexit.register(dist.destroy_process_group)  # its threads abort a process that ends before them
    return Workers(rank, count)
