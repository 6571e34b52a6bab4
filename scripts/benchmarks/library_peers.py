"""Peers that are other libraries' own: evosax and EvoTorch (`pip install -e '.[bench]'`)."""

import logging
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarks.peers import AT_ONCE, Peer, mean_loss
from nne.training.seeding import key


class OpenES(Peer):
    """``Open_ES`` of evosax: isotropic perturbations in pairs, centred ranks, Adam; a step is one compiled function."""

    package: ClassVar[str | None] = "evosax"

    def __init__(self, *arguments: Any) -> None:
        import jax
        import optax
        from evosax.algorithms import Open_ES

        super().__init__(*arguments)
        mean = jax.numpy.asarray(torch.cat([w.flatten() for w in self.start]).numpy())
        setting = self.setting
        adam, sigma = optax.adam(setting.step_size), optax.constant_schedule(setting.sigma)
        strategy = Open_ES(self.population, mean, optimizer=adam, std_schedule=sigma)
        (inputs, hidden), (_, classes) = self.shapes
        self.state = strategy.init(jax.random.key(self.seed), mean, strategy.default_params)
        self.key = jax.random.key(key(self.seed, "perturbations", 0) % 2**31)

        def step(state: Any, key: Any, images: Any, targets: Any) -> Any:
            def loss(flat: Any) -> Any:
                first = flat[: inputs * hidden].reshape(inputs, hidden)
                second = flat[inputs * hidden :].reshape(hidden, classes)
                logits = jax.nn.relu(images @ first) @ second
                return optax.softmax_cross_entropy(logits, targets).mean()

            ask, tell = jax.random.split(key)
            tried, state = strategy.ask(ask, state, strategy.default_params)
            return strategy.tell(tell, tried, jax.lax.map(loss, tried), state, strategy.default_params)[0]

        self.jax = jax
        self.compiled = jax.jit(step, donate_argnums=0)

    def move(self, images: Tensor, labels: Tensor) -> None:
        """Ask, evaluate, tell."""
        self.key, now = self.jax.random.split(self.key)
        targets = one_hot(labels, self.classes).float()
        self.state = self.compiled(self.state, now, images.numpy(), targets.numpy())
        self.state.mean.block_until_ready()

    def weights(self) -> list[Tensor]:
        """The mean."""
        return [w[0] for w in self.networks(torch.tensor(self.jax.device_get(self.state.mean))[None])]


class PGPE(Peer):
    """``PGPE`` of EvoTorch: a standard deviation for each weight, centred ranks, Adam."""

    package: ClassVar[str | None] = "evotorch"

    def __init__(self, *arguments: Any) -> None:
        from evotorch import Problem, algorithms
        from evotorch.tools import set_default_logger_config

        set_default_logger_config(logger_level=logging.WARNING, override=True)
        super().__init__(*arguments)
        start = torch.cat([w.flatten() for w in self.start])
        self.given: tuple[Tensor, Tensor] = self.images, self.labels
        bounds = float(start.min()), float(start.max())
        problem = Problem(
            "min", self.losses, solution_length=len(start), initial_bounds=bounds, vectorized=True, seed=self.seed
        )
        self.search = algorithms.PGPE(
            problem,
            popsize=self.population,
            center_learning_rate=self.setting.step_size,
            stdev_learning_rate=0.1,
            stdev_init=self.setting.sigma,
            center_init=start,
            optimizer="adam",
            ranking_method="centered",
        )

    def losses(self, tried: Tensor) -> Tensor:
        """Mean cross-entropy of networks in rows, ``[N]``."""
        images, labels = self.given
        at_once = AT_ONCE[images.device.type]
        return torch.cat(
            [
                mean_loss(torch.bmm((images @ first).relu_(), second), labels)
                for first, second in map(self.networks, torch.split(tried.as_subclass(Tensor), at_once))
            ]
        )

    def move(self, images: Tensor, labels: Tensor) -> None:
        """One generation."""
        self.given = images, labels
        self.search.step()

    def weights(self) -> list[Tensor]:
        """The centre."""
        return [w[0] for w in self.networks(self.search.status["center"].as_subclass(Tensor)[None])]
