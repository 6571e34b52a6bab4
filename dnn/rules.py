"""Who is rewarded, and how much: the readings of dopaminergic plasticity, each one function.

A link from hidden unit i to output neuron j moves by

    w_ij := w_ij + epsilon_1 h_i u_j

where ``h_i`` is the firing of the presynaptic neuron and ``u_j`` what a rule here says: the firing of the
postsynaptic neuron times a signal, dopamine, that tells how good the outcome was. For one image with label
``l(y)`` (one-hot), ``z`` is the softmax output, ``e_j = z_j - l(y)_j`` the error of neuron j and
``L = -log z_label`` the loss; ``q_j = 1/4 - e_j^2``. The *winner* is the output neuron that fires most,
``argmax z``; the *drawn* neuron is one that fires with probability ``z_j``.

Every rule takes an ``Outcome`` of ``B`` images and returns ``u: [B, C]``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nne.training import plugin
from nne.training.errors import require

LEAST = 1e-30  # below any softmax output that matters; keeps the loss finite


@dataclass(frozen=True)
class Outcome:
    """What the output layer did with ``B`` images, and what it should have done.

    ``z: [B, C]`` softmax outputs, ``label: [B, C]`` one-hot, ``draw: [B, 1]`` uniform in [0, 1) for who is drawn.
    """

    z: Tensor
    label: Tensor
    draw: Tensor
    epsilon_0: float

    def quarter(self) -> Tensor:
        """``q_j = 1/4 - (z_j - l_j)^2``: positive where neuron j erred by less than a half."""
        return 0.25 - (self.z - self.label).square()

    def loss(self) -> Tensor:
        """``L = -log z_label: [B, 1]``."""
        return -(self.z * self.label).sum(dim=1, keepdim=True).clamp(min=LEAST).log()

    def bad(self) -> Tensor:
        """``1[L > epsilon_0]: [B, 1]``: the gate of the displayed equation."""
        return (self.loss() > self.epsilon_0).to(self.z.dtype)

    def winner(self) -> Tensor:
        """One-hot: the neuron that fires most (the first of equals)."""
        return _one_hot(self.z.argmax(dim=1, keepdim=True), self.z)

    def drawn(self) -> Tensor:
        """One-hot: a neuron drawn with probability ``z_j``."""
        below = (self.z.cumsum(dim=1) <= self.draw).sum(dim=1, keepdim=True)
        return _one_hot(below.clamp(max=self.z.shape[1] - 1), self.z)


def literal(outcome: Outcome) -> Tensor:
    """``u_j = 1[q_j > 0] 1[L > epsilon_0]``: the displayed equation of Sec. 3.2, where each quotient is an indicator.

    It strengthens the outputs that were rightly silent when the prediction was bad, so it learns the reverse.
    """
    return (outcome.quarter() > 0) * outcome.bad()


def text(outcome: Outcome) -> Tensor:
    """``u_j = 1[q_j >= 0] 1[L <= epsilon_0]``: Sec. 3.2 in words: the loss "is at most epsilon_0".

    When the loss is that low, every output has a low error: all rise together and nothing is learnt.
    """
    return (outcome.quarter() >= 0) * (1 - outcome.bad())


def introduction(outcome: Outcome) -> Tensor:
    """``u_j = q_j`` for the winner: Sec. 1, "a link that fired ... is modified by a multiple of (1/4 - err^2)"."""
    return outcome.winner() * outcome.quarter()


def introduction_graded(outcome: Outcome) -> Tensor:
    """``u_j = z_j q_j``: the introduction's rule where every output fires as strongly as its softmax."""
    return outcome.z * outcome.quarter()


def introduction_drawn(outcome: Outcome) -> Tensor:
    """``u_j = q_j`` for the drawn neuron: the introduction's rule with one output that fires at random."""
    return outcome.drawn() * outcome.quarter()


def introduction_broadcast(outcome: Outcome) -> Tensor:
    """``u_j = 1/4 - (1 - z_label)^2`` for the winner: "err" as one number for the whole example."""
    z_label = (outcome.z * outcome.label).sum(dim=1, keepdim=True)
    return outcome.winner() * (0.25 - (1 - z_label).square())


def gated(outcome: Outcome) -> Tensor:
    """``u_j = q_j 1[L > epsilon_0]`` for the winner: Sec. 1's rule behind the displayed equation's gate (Sec. 3.2).

    Dopamine comes only where the loss was above ``epsilon_0``; then the neuron that fired is punished if it was
    sure of itself, and what is learnt already is left alone.
    """
    return introduction(outcome) * outcome.bad()


def gated_graded(outcome: Outcome) -> Tensor:
    """``u_j = z_j q_j 1[L > epsilon_0]``: the same with graded firing."""
    return introduction_graded(outcome) * outcome.bad()


def gated_drawn(outcome: Outcome) -> Tensor:
    """``u_j = q_j 1[L > epsilon_0]`` for the drawn neuron."""
    return introduction_drawn(outcome) * outcome.bad()


def gated_broadcast(outcome: Outcome) -> Tensor:
    """``u_j = (1/4 - (1 - z_label)^2) 1[L > epsilon_0]`` for the winner: the same with one "err" for the example."""
    return introduction_broadcast(outcome) * outcome.bad()


def reward_prediction(outcome: Outcome) -> Tensor:
    """``u_j = [right] - z_j`` for the winner: dopamine as reward minus its expectation (Schultz et al. 1997).

    The expectation of being right is the output of the neuron that fired: the scalar is one number for all links.
    """
    return outcome.winner() * (outcome.label - outcome.z)


def reward_prediction_drawn(outcome: Outcome) -> Tensor:
    """``u_j = [right] - z_j`` for the drawn neuron: the same where the animal also tries other answers."""
    return outcome.drawn() * (outcome.label - outcome.z)


def demonstration(outcome: Outcome) -> Tensor:
    """``u_j = [right] - z_j`` for the winner and, where it was wrong, for the label's neuron, which is made to fire.

    Two events, each with its own broadcast scalar: the animal answers and gets less than it expected; it is then
    shown the answer and gets more.
    """
    return torch.maximum(outcome.winner(), outcome.label) * (outcome.label - outcome.z)


def delta(outcome: Outcome) -> Tensor:
    """``u_j = l_j - z_j`` for every neuron: SGD (Lemma 2), each output with an error of its own; for comparison."""
    return outcome.label - outcome.z


Rule = Callable[[Outcome], Tensor]
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        literal,
        text,
        introduction,
        introduction_graded,
        introduction_drawn,
        introduction_broadcast,
        gated,
        gated_graded,
        gated_drawn,
        gated_broadcast,
        reward_prediction,
        reward_prediction_drawn,
        demonstration,
        delta,
    )
}


def chosen_rule(choice: str | Rule) -> Rule:
    """A rule by its name in ``RULES``, by its dotted path, or itself, checked on two images of three classes.

    Raises:
        UserError: there is no such rule, or it does not give a finite number for each image and class.
    """

    def probe(rule: Rule) -> None:
        z = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]])
        label = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        u = rule(Outcome(z, label, torch.tensor([[0.3], [0.9]]), 0.75))
        right = isinstance(u, Tensor) and u.shape == z.shape and bool(u.isfinite().all())
        require(right, f"it gave {u}, not a finite number for each image and class")

    rule: Rule = plugin.chosen("rule", choice, RULES, "a function rule(outcome) -> u: [B, C] (dnn/rules.py)", probe)
    return rule


def _one_hot(index: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(1, index, 1.0)
