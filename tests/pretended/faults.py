"""What a GPU refuses, done on purpose on the pretended one: prints the names of those that it lets pass, as JSON."""

import json

from tests.pretended import device as gpu  # first, before torch

import torch


FAULTS = {
    "a tensor of the CPU with one of the GPU": lambda here, there: here + there,
    "a product of both": lambda here, there: here @ there,
    "joined from both": lambda here, there: torch.cat([here, there]),
    "added in place, on the CPU": lambda here, there: here.add_(there),
    "chosen by a mask of the other": lambda here, there: torch.where(there > 0, here, here),
    "indices on the GPU of a tensor on the CPU": lambda here, there: here[there.long()],
    "a CPU generator": lambda here, there: torch.rand(3, generator=torch.Generator(), device="cuda"),
    "numpy": lambda here, there: there.numpy(),
    "scattered from the other": lambda here, there: there.index_add_(0, torch.zeros(4, dtype=torch.long), here),
}
WAITS = {
    "a number": lambda there: float(there.sum()),
    "a branch": lambda there: bool((there > 0).any()),
    "a mask": lambda there: there[there > 0],
    "indices of what is not zero": lambda there: there.nonzero(),
    "a copy to the host": lambda there: there.cpu(),
    "a list": lambda there: there.tolist(),
}


def main() -> None:
    """Try each."""
    missed = []
    with gpu.pretended() as counts:
        here, there = torch.ones(4), torch.zeros(4, device="cuda")
        for name, fault in FAULTS.items():
            try:
                fault(here, there)
                missed.append(name)
            except gpu.RefusedError:
                pass
        for name, wait in WAITS.items():
            counts.clear()
            wait(there)
            if not sum(counts.waits.values()):
                missed.append(name)
        counts.clear()
        torch.where(there > 0, there, 0.0).sum().sqrt().clamp(min=1)
        if counts.waits:
            missed.append("what nobody waits for")
    print(json.dumps(missed))


if __name__ == "__main__":
    main()
