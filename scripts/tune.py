"""The learning rates of the zoo, found alike for every rule: `python scripts/tune.py [EXPERIMENT ...]`.

A rule learns 2,000 training images, with two seeds that no table uses, and is judged by the worse accuracy on 2,000
*other training images*; the test set is not looked at. A search over 0.001, 0.003, 0.01 ... goes on from what was found
before, or else from the experiment's own rate, as long as a neighbour is better; where the next rate up does not reach
half of the best accuracy, the next one down is taken, since other seeds would fail. What is found is kept in
scripts/tuned.json, where `reproduce.py --scale zoo` reads it.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch

from nne.registry import build, composed
from nne.training import data, device
from nne.training.data.datasets import Dataset
from nne.training.errors import UserError, exit_code, require
from nne.training.logging.progress import console
from reproduce import NETWORKS, TUNED

RULES = {
    **dict.fromkeys(("frozen", "backprop", "fa", "sign", "kp", "mirror", "dfa", "drtp", "pepita", "ff", "pc")),
    **dict.fromkeys(("np", "rank1", "wp")),
    "ep": ("wide", "narrow"),  # with two hidden layers its free phase does not come to rest
    "dtp": ("deep",),
}
"""The zoo, and the networks that a rule can train, if not all."""
SEEDS = 1000, 1001
EACH = 200  # images a class, to learn and again to judge by
EPOCHS = 30


@cache
def held_out(seed: int) -> Dataset:
    """Training images, and as many others in place of test images."""
    config = composed("experiment=fa_mnist10", f"data.per_class={2 * EACH}")
    images = data.load(config.images, seed)
    order = images.train_labels.argsort(stable=True).view(len(images.classes), -1)
    learnt, judged = order[:, :EACH].flatten(), order[:, EACH:].flatten()
    return replace(
        images,
        train_images=images.train_images[learnt],
        train_labels=images.train_labels[learnt],
        test_images=images.train_images[judged],
        test_labels=images.train_labels[judged],
    )


def accuracy(experiment: str, network: str, rate: float, seed: int) -> float:
    """On the images that were held out, after ``EPOCHS``; 0 where the weights grow beyond all bounds."""
    overrides = f"network.hidden={NETWORKS[network]}", f"learner.learning_rate={rate}", f"trainer.max_steps={EPOCHS}"
    config = composed(f"experiment={experiment}_mnist10", *overrides, f"seed={seed}")
    compute = device.choose(config.device, config.precision)
    images = held_out(seed).to(compute.device)
    learner = build(config, images, compute)
    try:
        for _ in range(EPOCHS):
            learner.step()
    except UserError:
        return 0.0
    return learner.evaluate(images.test_images, images.test_labels)["test/accuracy"]


def neighbours(rate: float) -> tuple[float, float]:
    """A step down and up in 0.001, 0.003, 0.01 ..."""
    place = round(2 * math.log10(rate))
    return float(f"{10 ** ((place - 1) / 2):.0e}"), float(f"{10 ** ((place + 1) / 2):.0e}")


def search(judge: Callable[[float], float], start: float) -> float:
    """The best rate among its neighbours; of equals, the least."""
    best = start
    while (better := max(sorted([best, *neighbours(best)]), key=judge)) != best:
        best = better
    return best


def tune(rules: list[str]) -> None:
    """Each rule on each network; what is found is written down at once."""
    require(set(rules) <= set(RULES), f"rules must be among {', '.join(RULES)}, got {', '.join(rules)}")
    torch.set_num_threads(1)
    for rule in rules or RULES:
        for network in RULES[rule] or NETWORKS:
            before = json.loads(TUNED.read_text())
            config = composed(f"experiment={rule}_mnist10", f"network.hidden={NETWORKS[network]}")
            start = before.get(rule, {}).get(network, {}).get("best", config.learner.learning_rate)

            @cache
            def judge(rate: float, rule: str = rule, network: str = network) -> float:
                reached = min(accuracy(rule, network, rate, seed) for seed in SEEDS)
                console.print(f"{rule}, {network}, learning rate {rate:g}: {reached:.2%}")
                return reached

            best = search(judge, start)
            less, more = neighbours(best)
            rate = less if judge(more) < judge(best) / 2 else best
            before = json.loads(TUNED.read_text())  # others may have written since
            told = {"rate": rate, "best": best, "held out, %": round(100 * judge(rate), 2)}
            before.setdefault(rule, {})[network] = told
            TUNED.write_text(json.dumps(before, indent=1, sort_keys=True) + "\n")


def main() -> int:
    """Parse the command line and tune; the exit code is 2 for a user's error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*", help=f"of {', '.join(RULES)}; default: all")
    return exit_code(lambda: tune(parser.parse_args().rules))


if __name__ == "__main__":
    sys.exit(main())
