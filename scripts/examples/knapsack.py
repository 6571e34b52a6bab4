"""Evolve the contents of a knapsack: `python scripts/examples/knapsack.py`."""

import torch

from nne import Evolution

stream = torch.Generator().manual_seed(0)
value = torch.randint(10, 100, (200,), generator=stream).double()
weight = torch.randint(10, 100, (200,), generator=stream).double()
capacity = weight.sum() / 2
greed = value.sum()  # more than any excess weight is worth

evolution = Evolution(genes=200, population=500, epsilon=0.5)
while evolution.generation < 150:
    x = evolution.ask().double()  # who takes which item, [500, 200]
    excess = (x @ weight - capacity).clamp(min=0)
    evolution.tell(x @ value - greed * excess / capacity)

x = (evolution.p > 0.5).double()
best = (value / weight).argsort(descending=True)  # the fractional optimum: no knapsack can be worth more
bound = value[best][weight[best].cumsum(0) <= capacity].sum() + value[best].max()
print(f"{x.sum():.0f} of 200 items, weight {x @ weight:.0f} of {capacity:.0f}, value {x @ value:.0f}")
print(f"no knapsack is worth more than {bound:.0f}")
