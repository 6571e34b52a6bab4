"""Groups of individuals, each with images of its own."""

import pytest
import torch
from torch import Tensor

from nne.learners.network import NetworkEvolution
from nne.registry import composed
from nne.training import data, device
from nne.training.errors import UserError

SMALL = (
    *("experiment=nne_filters_mnist10", "data=embedded", "network.filters=2", "network.places=4", "learner.genes=140"),
    *("learner.filter_genes=10", "learner.population=24", "learner.batch=15", "data.per_class=10", "device=cpu"),
)
PLAIN = (
    *("experiment=nne_mnist10", "data=embedded", "learner.genes=300", "learner.population=24", "learner.batch=15"),
    *("network.hidden=20", "data.per_class=10", "device=cpu"),
)


def made(*overrides: str) -> NetworkEvolution:
    config = composed(*overrides)
    return NetworkEvolution(config, data.load(config.images, config.seed), device.choose("cpu", "auto"))


@pytest.mark.parametrize(
    "overrides", [PLAIN, SMALL, (*SMALL, "learner.credit=class"), (*SMALL, "learner.credit=total")]
)
def test_each_group_is_judged_on_its_images_and_against_itself(overrides: tuple[str, ...]) -> None:
    """As populations of a third each would be, on a third of the images; their mean fitness is made the same."""
    learner = made(*overrides, "learner.groups=3")
    environment = learner.environment
    images, labels = environment.minibatch(0)
    assert len(torch.unique(environment.chosen(0))) == len(labels) == 45
    found = environment.rewards(images, labels)
    assert found.shape[-1] == 24

    def alone(group: int) -> Tensor:
        x, some = learner.genotypes(range(8 * group, 8 * group + 8)), slice(15 * group, 15 * group + 15)
        third = made(*overrides, "learner.population=8").environment
        third.temperature = environment.temperature
        third.genotypes = lambda individuals: x[individuals.start : individuals.stop]
        return third.rewards(images[some], labels[some])

    groups = [alone(group) for group in range(3)]
    mean = torch.stack(groups).mean(dim=(0, -1))[..., None]
    assert all(float((group.mean(dim=-1, keepdim=True) - mean).abs().max()) > 1e-4 for group in groups)
    for group, expected in enumerate(groups):
        within = expected - expected.mean(dim=-1, keepdim=True) + mean
        torch.testing.assert_close(found[..., 8 * group : 8 * group + 8], within, rtol=0, atol=1e-5)


def test_evolution_in_groups_learns() -> None:
    learner = made(*SMALL, "learner.population=200", "data.per_class=50", "learner.genes=1040", "learner.groups=4")
    rewards = [learner.step()["fitness/mean"] for _ in range(40)]
    assert sum(rewards[-5:]) > sum(rewards[:5]) + 0.5


def test_images_of_their_own_have_to_be_chosen() -> None:
    with pytest.raises(UserError, match=r"learner\.groups=2 have images of their own: set learner\.batch=100"):
        made(*PLAIN, "learner.groups=2", "learner.batch=null")
