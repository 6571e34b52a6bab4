"""The learning rates of the zoo, found alike for every rule: `python scripts/tune.py [EXPERIMENT ...]`.

A rule learns 2,000 training images, with two seeds that no table uses, and is judged by the worse accuracy on 2,000
*other training images*; the test set is not looked at. A search over 0.001, 0.003, 0.01 ... goes on from what was found
before, or else from the experiment's own rate, as long as a neighbour is better; where the next rate up does not reach
half of the best accuracy, the next one down is taken, since other seeds would fail. Networks that were published learn
50,000 images for 3 epochs, with one seed, and are judged on the other 10,000 (`python scripts/tune.py --published`).
What is found is kept in scripts/tuned.json, where `reproduce.py --scale zoo` reads it.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch

from nne.registry import build, composed
from nne.training import data, device
from nne.training.data.datasets import Dataset
from nne.training.errors import UserError, exit_code, require
from nne.training.logging.progress import console
from nne.training.seeding import generator
from reporting.published import PUBLISHED
from reporting.stages import NETWORKS, TUNED

RULES = {
    **dict.fromkeys(("frozen", "backprop", "fa", "sign", "kp", "mirror", "dfa", "drtp", "pepita", "ff", "pc")),
    **dict.fromkeys(("np", "rank1", "wp")),
    "ep": ("wide", "narrow"),  # with two hidden layers its free phase does not come to rest
    "dtp": ("deep",),
}
"""The zoo, and the networks that a rule can train, if not all."""
EACH = 200  # images a class, to learn and again to judge by
JUDGED = 10_000  # of all images


@dataclass(frozen=True)
class Trial:
    """A rule on a network.

    overrides: of the rule's experiment, but for the learning rate.
    all_images: whether it learns all that it is not judged on, or 200 a class.
    """

    rule: str
    network: str
    overrides: tuple[str, ...]
    epochs: int = 30
    seeds: tuple[int, ...] = (1000, 1001)
    all_images: bool = False


def trials(rules: list[str]) -> list[Trial]:
    """Of these rules on their networks."""
    networks = [(rule, network) for rule in rules for network in RULES[rule] or NETWORKS]
    return [Trial(rule, network, (f"network.hidden={NETWORKS[network]}",)) for rule, network in networks]


def published() -> list[Trial]:
    """Of all that was published elsewhere."""
    return [
        Trial(of.rule, of.network, of.overrides, epochs=3, seeds=(1000,), all_images=True)
        for of in PUBLISHED
        if of.rule in RULES
    ]


@cache
def held_out(seed: int, all_images: bool) -> Dataset:
    """Training images, and others in place of test images."""
    few = None if all_images else 2 * EACH
    config = composed("experiment=fa_mnist10", f"data.per_class={few or 'null'}")
    images = data.load(config.images, seed)
    if all_images:
        order = torch.randperm(len(images.train_labels), generator=generator(seed, "held out"))
        learnt, judged = order[JUDGED:], order[:JUDGED]
    else:
        by_class = images.train_labels.argsort(stable=True).view(len(images.classes), -1)
        learnt, judged = by_class[:, :EACH].flatten(), by_class[:, EACH:].flatten()
    return replace(
        images,
        train_images=images.train_images[learnt],
        train_labels=images.train_labels[learnt],
        test_images=images.train_images[judged],
        test_labels=images.train_labels[judged],
    )


def accuracy(trial: Trial, rate: float, seed: int) -> float:
    """On the images that were held out; 0 where the weights grow beyond all bounds."""
    overrides = *trial.overrides, f"learner.learning_rate={rate}", f"trainer.max_steps={trial.epochs}"
    config = composed(f"experiment={trial.rule}_mnist10", *overrides, f"seed={seed}")
    compute = device.choose(config.device, config.precision)
    images = held_out(seed, trial.all_images).to(compute.device)
    learner = build(config, images, compute)
    try:
        for _ in range(trial.epochs):
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


def tune(rules: list[str], of_published: bool) -> None:
    """Each rule on each network; what is found is written down at once."""
    require(set(rules) <= set(RULES), f"rules must be among {', '.join(RULES)}, got {', '.join(rules)}")
    torch.set_num_threads(1)
    for trial in published() if of_published else trials(rules or list(RULES)):
        if of_published and rules and trial.rule not in rules:
            continue
        before = json.loads(TUNED.read_text())
        config = composed(f"experiment={trial.rule}_mnist10")
        start = before.get(trial.rule, {}).get(trial.network, {}).get("best", config.learner.learning_rate)

        @cache
        def judge(rate: float, trial: Trial = trial) -> float:
            reached = min(accuracy(trial, rate, seed) for seed in trial.seeds)
            console.print(f"{trial.rule}, {trial.network}, learning rate {rate:g}: {reached:.2%}")
            return reached

        best = search(judge, start)
        less, more = neighbours(best)
        rate = less if judge(more) < judge(best) / 2 else best
        before = json.loads(TUNED.read_text())  # others may have written since
        told = {"rate": rate, "best": best, "held out, %": round(100 * judge(rate), 2)}
        before.setdefault(trial.rule, {})[trial.network] = told
        TUNED.write_text(json.dumps(before, indent=1, sort_keys=True) + "\n")


def main() -> int:
    """Parse the command line and tune; the exit code is 2 for a user's error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*", help=f"of {', '.join(RULES)}; default: all")
    parser.add_argument("--published", action="store_true", help="on the networks that their authors published")
    given = parser.parse_args()
    return exit_code(lambda: tune(given.rules, given.published))


if __name__ == "__main__":
    sys.exit(main())
