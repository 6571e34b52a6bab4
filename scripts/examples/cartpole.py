"""Evolve a policy that balances a pole: `pip install -e '.[control]' && python scripts/examples/cartpole.py`."""

import gymnasium
import torch
from torch import Tensor, nn

from nne import Evolution, ModulePopulation

POPULATION, STEPS = 200, 500


def returns(population: ModulePopulation, x: Tensor, seed: int) -> Tensor:
    """How long each genotype ``x: [N, n]`` keeps its own pole up, ``[N]``; 500 steps are the most."""
    worlds = gymnasium.make_vec("CartPole-v1", num_envs=len(x), vectorization_mode="vector_entry_point")
    seen, _ = worlds.reset(seed=seed)
    parameters = population.parameters(x)
    up, steps = torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x))
    while bool(up.any()) and int(steps.max()) < STEPS:
        preference = population.apply(parameters, torch.from_numpy(seen)[:, None], shared=False)[:, 0]
        seen, _, fell, late, _ = worlds.step(preference.argmax(dim=1).numpy())
        steps += up
        up &= ~torch.from_numpy(fell | late)
    worlds.close()
    return steps


def main() -> None:
    """Evolve until the average individual stays up for 475 steps, the task's definition of solved."""
    policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    evolution = Evolution(genes=300, population=POPULATION, epsilon=1.0)
    population = ModulePopulation(policy, genes=300, beta=0.1)
    fitness = returns(population, evolution.ask(), seed=0)
    while fitness.mean() < 475 and evolution.generation < 100:
        evolution.tell(fitness)
        fitness = returns(population, evolution.ask(), seed=evolution.generation)
        print(
            f"generation {evolution.generation}: mean {fitness.mean():.0f}, best {fitness.max():.0f} of {STEPS} steps"
        )


if __name__ == "__main__":
    torch.manual_seed(0)  # the policy's biases before they evolve
    main()
