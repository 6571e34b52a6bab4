"""Islands in one tensor beside as many runs of their own, and a generation of one beside numpy's UMDA."""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np
import torch
from rich.table import Table

from benchmarks.gpu import timed
from nne import Evolution, Islands
from nne.population.cpp import kernel
from nne.training.data.datasets import Dataset
from nne.training.device import Compute
from nne.training.logging.progress import console

K = 64
SIZES = ((100, 50, 20), (10_000, 100, 2))  # n, N, and generations a timing


def islands(dataset: Dataset, compute: Compute, repeats: int) -> list[dict[str, object]]:
    """Milliseconds of a generation of OneMax, in turn; whether all bits are the same."""
    kernel.load()
    rows: list[dict[str, object]] = []
    for n, N, generations in SIZES:
        together = Islands(K, n, N, epsilon=0.5, device=compute.device)
        alone = [Evolution(n, N, epsilon=0.5, seed=k, device=compute.device) for k in range(K)]
        ours, theirs = in_turn([partial(live, [together]), partial(live, alone)], generations, repeats, compute.device)
        same = torch.equal(together.p, torch.stack([each.p for each in alone]))
        times = {f"{K} islands, ms": 1e3 * ours, f"{K} runs, ms": 1e3 * theirs, "ratio": theirs / ours}
        rows.append({"n": n, "N": N, **times, "same bits": "yes" if same else "no"})
    one, of_numpy = in_turn([partial(live, [Evolution(100, 50)]), Umda(100, 50)], 200, repeats, compute.device)
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    console.print(f"one generation, n = 100, N = 50: {1e6 * one:.0f} us; numpy's UMDA: {1e6 * of_numpy:.0f} us")
    return rows


def live(populations: Sequence[Evolution]) -> None:
    """One generation of OneMax, of each."""
    for population in populations:
        population.tell(population.ask().sum(dim=-1))


class Umda:
    """The better half gives the frequencies, in numpy."""

    def __init__(self, n: int, N: int) -> None:
        self.p, self.N, self.rng = np.full(n, 0.5), N, np.random.default_rng(0)

    def __call__(self) -> None:
        """One generation of OneMax."""
        x = self.rng.random((self.N, len(self.p))) < self.p
        best = np.argsort(-x.sum(axis=1), kind="stable")[: self.N // 2]
        self.p = x[best].mean(axis=0).clip(1 / len(self.p), 1 - 1 / len(self.p))


def in_turn(steps: list[Callable[[], object]], times: int, repeats: int, device: torch.device) -> tuple[float, ...]:
    """Median seconds of each step, all in turn, after a warm-up."""

    def several(step: Callable[[], object]) -> Callable[[], None]:
        def many() -> None:
            for _ in range(times):
                step()

        return many

    measured = [[timed(several(step), device) / times for step in steps] for _ in range(repeats + 1)][1:]
    return tuple(median(each) for each in zip(*measured, strict=True))
