"""``scripts/benchmark.py gpu`` from end to end on a pretended GPU, at a small scale: ``... benchmark PATH``."""

import sys

from tests.pretended import device as gpu  # first, before torch

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))
import benchmark
from benchmarks import gpu as parts

TINY = ("learner.genes=300", "learner.population=20", "network.hidden=30", "learner.batch=20")


def main() -> int:
    """As the command line does."""
    parts.SIDE, parts.DENSE, parts.MANY, parts.BATCHES = 64, 4, 50, (None, 20)
    parts.PAPER += TINY  # type: ignore[assignment]
    parts.WHOLE += (*TINY, "trainer.max_steps=3", "learner.test_individuals=2")  # type: ignore[assignment]
    parts.LEVELS, parts.EVERY = (0.01,), 1  # type: ignore[assignment]
    parts.OTHERS, parts.SMALLER = ("nne_apart_mnist10", "sgd_mnist10"), ("network.hidden=20",)  # type: ignore[assignment]
    sys.argv = ["benchmark.py", "gpu", "--data=embedded", "--device=cuda", "--repeats=1", "--json", sys.argv[1]]
    with gpu.pretended():
        return benchmark.main()


if __name__ == "__main__":
    sys.exit(main())
