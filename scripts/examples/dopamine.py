"""Learn digits by dopamine, in a loop of one's own: `python scripts/examples/dopamine.py`."""

import torch
from torch.nn.functional import one_hot

from dnn import RULES, Outcome, RandomFeatures
from nne.training import data
from nne.training.parts import DataConfig, FeaturesConfig

digits = data.load(DataConfig(source="embedded", per_class=200), seed=0)
see = RandomFeatures(FeaturesConfig(width=1000, standardise=True), 0, digits.train_images, torch.float32)
h, labels = see(digits.train_images), one_hot(digits.train_labels).float()  # [2000, 1000] and [2000, 10]
w = see.output_weights(classes=10, initial="uniform")
stream = torch.Generator().manual_seed(0)

for epoch in range(1, 11):
    for i in torch.randperm(len(h), generator=stream):
        z = torch.softmax(h[i] @ w, dim=0)[None]
        outcome = Outcome(z, labels[i][None], torch.rand(1, 1, generator=stream), epsilon_0=0.75)
        dopamine = RULES["reward_prediction_drawn"](outcome)  # [1, 10]: how much each output neuron is rewarded
        w += 0.01 * h[i][:, None] * dopamine  # only links from units that fired
    right = (see(digits.test_images) @ w).argmax(dim=1) == digits.test_labels
    print(f"epoch {epoch}: {right.float().mean():.1%} of the test images")
