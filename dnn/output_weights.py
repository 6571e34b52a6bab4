"""The synapses of the output layer, kept in one of two ways that compute the same.

``Primal`` keeps the weights ``w: [h, C]`` and touches those of every unit that fires, at each update. ``Dual`` keeps
how much each training image has moved them, ``a: [S, C]`` with ``w = w_0 + sum_s psi(s) a_s^T``: an epoch costs the
same for any number of hidden units. It is exact for every update of the form ``psi_i u_j`` (see ``dnn/gram.py``).
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from dnn.activity import ActivityStats, of_features
from dnn.features import RandomFeatures
from dnn.gram import Gram
from nne.training.data.datasets import Dataset
from nne.training.learner import State
from nne.training.models.output_layer import Features, SparseFeatures, dense, project, take

Respond = Callable[[Tensor, slice], Tensor]
"""From logits ``[B, C]`` of the images at some places of the order, ``epsilon_1 u: [B, C]``."""

BLOCK = 50  # images whose updates are found together
TEST_ROWS = 250


class Synapses(Protocol):
    """Output weights that learn."""

    activity: ActivityStats

    def learn(self, order: Tensor, batch: int, respond: Respond) -> None:
        """Present every training image once, in some order."""

    def update_average(self) -> None:
        """Add the weights as they are now to their average."""

    def logits(self, images: Tensor | None, average: bool) -> Tensor:
        """``[T, C]`` of any images, or of the training images for None.

        By the weights, or by their average if any were kept.
        """

    def parameters(self, average: bool) -> Tensor:
        """What is kept, or its average if any were counted: ``w: [h, C]`` or ``a: [S, C]``."""

    def norms(self) -> Tensor:
        """``[C]``: the length of each output neuron's weights."""

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class Dual:
    """Weights as coefficients of the training images.

    What is left to do is a chain of small operations, where a GPU would only wait: it runs on the CPU, whatever device
    computed the Gram matrix.
    """

    def __init__(self, gram: Gram, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.across = gram.across
        self.K = gram.train.cpu().to(dtype)
        self.base = gram.base.cpu().to(dtype)
        self.psi, self.psi_base, self.start = (t.cpu().to(dtype) for t in (gram.psi, gram.psi_base, gram.start))
        self.activity = gram.activity
        self.a = torch.zeros_like(self.base)
        self.sum = torch.zeros_like(self.a)
        self.kept = 0

    def learn(self, order: Tensor, batch: int, respond: Respond) -> None:
        """Block after block of images; within one, each update is felt by the images that follow.

        That is a recursion, ``u_i = respond(o_i + sum_{s < i} K_is u_s)``. It is solved for the whole block at once,
        by putting the last guess of all ``u`` in on the right until nothing changes. After n rounds the first n
        batches are exact, so the answer is that of the loop over images; mostly it is there after far fewer rounds.
        """
        step = max(BLOCK // batch, 1) * batch
        turn = torch.arange(step) // batch
        earlier = turn[:, None] > turn
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            which = slice(start, start + len(rows))
            K = self.K[rows]
            logits = self.base[rows] + K @ self.a
            influence = K[:, rows] * earlier[: len(rows), : len(rows)]
            u, before = respond(logits, which), None
            for _ in range(len(rows)):
                if before is not None and torch.equal(u, before):
                    break
                u, before = respond(logits + influence @ u, which), u
            self.a.index_add_(0, rows, u)

    def update_average(self) -> None:
        self.sum += self.a
        self.kept += 1

    def logits(self, images: Tensor | None, average: bool) -> Tensor:
        if images is None:
            return self.base + self.K @ self.parameters(average)
        K, base = (part.cpu().to(self.dtype) for part in self.across(images))
        return (base + K @ self.parameters(average)).to(images.device)

    def parameters(self, average: bool) -> Tensor:
        return self.sum / self.kept if average and self.kept else self.a

    def norms(self) -> Tensor:
        moved = 2 * (self.a * self.psi_base).sum(dim=0) + (self.a * (self.psi @ self.a)).sum(dim=0)
        return (self.start + moved).clamp(min=0).sqrt()

    def state_dict(self) -> State:
        return {"a": self.a, "sum": self.sum, "kept": torch.tensor(self.kept)}

    def load_state_dict(self, state: State) -> None:
        self.a = state["a"].clone()
        self.sum = state["sum"].clone()
        self.kept = int(state["kept"])


class Primal:
    """The weights themselves."""

    def __init__(self, features: RandomFeatures, data: Dataset, w: Tensor, binary: bool) -> None:
        self.see = features
        self.binary = binary
        self.seen = features(data.train_images)
        self.activity = of_features(self.seen, data.train_labels, features.width)
        self.w = w.to(features.device)
        self.sum = torch.zeros_like(self.w)
        self.kept = 0

    def learn(self, order: Tensor, batch: int, respond: Respond) -> None:
        """One image, or one batch, after the other."""
        for start in range(0, len(order), batch):
            h = take(self.seen, order[start : start + batch])
            u = respond(project(h, self.w), slice(start, start + batch))
            self._strengthen(h, u)

    def _strengthen(self, h: Features, u: Tensor) -> None:
        """``w += psi(h)^T u``; where a cap is on, only the links of units that fired are touched."""
        if isinstance(h, SparseFeatures):
            psi = (h.h > 0 if self.binary else h.h).to(u.dtype)
            self.w.index_add_(0, h.units.flatten(), (psi[:, :, None] * u[:, None]).flatten(0, 1))
        else:
            self.w.addmm_((h > 0 if self.binary else h).to(u.dtype).T, u)

    def update_average(self) -> None:
        self.sum += self.w
        self.kept += 1

    def logits(self, images: Tensor | None, average: bool) -> Tensor:
        w = self.parameters(average)
        if images is None:
            return project(self.seen, w)
        return torch.cat([project(self.see(block), w) for block in torch.split(images, TEST_ROWS)])

    def parameters(self, average: bool) -> Tensor:
        return self.sum / self.kept if average and self.kept else self.w

    def norms(self) -> Tensor:
        return self.w.square().sum(dim=0).sqrt()

    def state_dict(self) -> State:
        return {"w": self.w, "sum": self.sum, "kept": torch.tensor(self.kept)}

    def load_state_dict(self, state: State) -> None:
        self.w, self.sum = (state[name].to(self.w.device, copy=True) for name in ("w", "sum"))
        self.kept = int(state["kept"])


def dense_weights(a: Tensor, start: Tensor, features: RandomFeatures, images: Tensor, binary: bool) -> Tensor:
    """The weights that the dual's ``a: [S, C]`` stand for: ``w: [h, C]``, from the ``start`` they had, ``[h, C]``."""
    w = start.clone()
    for units, weights in features.parts():
        h = dense(features.firing(weights)(images), weights.shape[1])
        w[units] += (h > 0 if binary else h).to(a.dtype).T @ a.to(images.device)
    return w
