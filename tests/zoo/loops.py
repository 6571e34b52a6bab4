"""The rules of the zoo as their equations have them, a number at a time: plain lists, one image after the other."""

import math
from collections.abc import Callable

Vector = list[float]
Matrix = list[Vector]


def times(W: Matrix, h: Vector) -> Vector:
    return [sum(w * v for w, v in zip(row, h, strict=True)) for row in W]


def back(W: Matrix, e: Vector) -> Vector:
    """``W^T e``."""
    return [sum(W[j][i] * e[j] for j in range(len(W))) for i in range(len(W[0]))]


def outer(above: Vector, below: Vector) -> Matrix:
    return [[a * b for b in below] for a in above]


def minus(a: Vector, b: Vector) -> Vector:
    return [x - y for x, y in zip(a, b, strict=True)]


def relu(a: Vector) -> Vector:
    return [max(v, 0.0) for v in a]


def tanh(a: Vector) -> Vector:
    return [math.tanh(v) for v in a]


def softmax(a: Vector) -> Vector:
    powers = [math.exp(v - max(a)) for v in a]
    return [p / sum(powers) for p in powers]


def layers(W: list[Matrix], x: Vector, f: Callable[[Vector], Vector] = relu) -> list[Vector]:
    """``h_0 = x``, the hidden layers, and the logits."""
    h = [x]
    for matrix in W[:-1]:
        h.append(f(times(matrix, h[-1])))
    return [*h, times(W[-1], h[-1])]


def error(W: list[Matrix], x: Vector, label: Vector, f: Callable[[Vector], Vector] = relu) -> Vector:
    return minus(softmax(layers(W, x, f)[-1]), label)


def masked(delta: Vector, h: Vector) -> Vector:
    return [d if v > 0 else 0.0 for d, v in zip(delta, h, strict=True)]


def layerwise(W: list[Matrix], B: list[Matrix], x: Vector, label: Vector) -> list[Matrix]:
    """Backpropagation (``B = W[1:]``), feedback alignment and all that come down layer by layer."""
    h, delta = layers(W, x), error(W, x, label)
    changes = [outer(delta, h[-2])]
    for i in range(len(W) - 2, -1, -1):
        delta = masked(back(B[i], delta), h[i + 1])
        changes.insert(0, outer(delta, h[i]))
    return changes


def direct(W: list[Matrix], B: list[Matrix], x: Vector, label: Vector, target: bool) -> list[Matrix]:
    """Direct feedback alignment, or target projection."""
    h, e = layers(W, x), error(W, x, label)
    down = [-v for v in label] if target else e
    hidden = [outer(masked(back(B[i], down), h[i + 1]), h[i]) for i in range(len(W) - 1)]
    return [*hidden, outer(e, h[-2])]


def pepita(W: list[Matrix], F: Matrix, x: Vector, label: Vector) -> list[Matrix]:
    first, e = layers(W, x), error(W, x, label)
    second = layers(W, minus(x, back(F, e)))
    hidden = [outer(minus(first[i + 1], second[i + 1]), second[i]) for i in range(len(W) - 1)]
    return [*hidden, outer(e, second[-2])]


def forward_forward(W: list[Matrix], theta: float, x: Vector, right: Vector, wrong: Vector) -> list[Matrix]:
    changes = []
    seen = {+1: [*right, *x[len(right) :]], -1: [*wrong, *x[len(right) :]]}
    for matrix in W[:-1]:
        total = [[0.0] * len(matrix[0]) for _ in matrix]
        for sign, h in seen.items():
            length = math.sqrt(sum(v * v for v in h) / len(h)) + 1e-4
            below = [v / length for v in h]
            above = relu(times(matrix, below))
            goodness = sum(v * v for v in above) / len(above)
            slope = -sign / (1 + math.exp(sign * (goodness - theta)))
            for j, v in enumerate(above):
                for i, u in enumerate(below):
                    total[j][i] += slope * 2 * v / len(above) * u
            seen[sign] = above
        changes.append(total)
    return [*changes, [[0.0] * len(W[-1][0]) for _ in W[-1]]]


def target_propagation(W: list[Matrix], V: list[Matrix], rate: float, x: Vector, label: Vector) -> list[Matrix]:
    h, e = layers(W, x, tanh), error(W, x, label, tanh)
    target = minus(h[-2], [rate * v for v in back(W[-1], e)])
    changes = [outer(e, h[-2])]
    for i in range(len(W) - 1, 0, -1):
        delta = [(have - want) * (1 - have * have) for have, want in zip(h[i], target, strict=True)]
        changes.insert(0, outer(delta, h[i - 1]))
        if i > 1:
            there, here = tanh(times(V[i - 2], target)), tanh(times(V[i - 2], h[i]))
            target = [a + b - c for a, b, c in zip(h[i - 1], there, here, strict=True)]
    return changes


def equilibrium(
    W: list[Matrix], x: Vector, label: Vector, beta: float, size: float, free: int, nudged: int
) -> list[Matrix]:
    s = [[0.0] * len(matrix) for matrix in W]

    def step(strength: float) -> list[Vector]:
        moved = []
        for i, layer in enumerate(s):
            drive = times(W[i], s[i - 1] if i else x)
            more = back(W[i + 1], s[i + 1]) if i + 1 < len(s) else [strength * v for v in minus(label, layer)]
            moved.append(
                [min(max(v + size * (a + b - v), 0.0), 1.0) for v, a, b in zip(layer, drive, more, strict=True)]
            )
        return moved

    for _ in range(free):
        s = step(0.0)
    before = s
    for _ in range(nudged):
        s = step(beta)
    pairs = [(outer(before[i], before[i - 1] if i else x), outer(s[i], s[i - 1] if i else x)) for i in range(len(s))]
    return [[[(a - b) / beta for a, b in zip(u, v, strict=True)] for u, v in zip(*pair, strict=True)] for pair in pairs]


def predictive_coding(
    W: list[Matrix], x: Vector, label: Vector, precision: float, size: float, steps: int
) -> list[Matrix]:
    v, below = [], x
    for matrix in W[:-1]:
        v.append(times(matrix, below))
        below = relu(v[-1])

    def errors() -> tuple[list[Vector], list[Vector]]:
        seen = [x, *(relu(value) for value in v)]
        hidden = [minus(v[i], times(W[i], seen[i])) for i in range(len(v))]
        e = minus(label, softmax(times(W[-1], seen[-1])))
        return [*hidden, [precision * value for value in e]], seen

    for _ in range(steps):
        eps, _ = errors()
        pulls = [masked(back(W[i + 1], eps[i + 1]), v[i]) for i in range(len(v))]
        v = [[a + size * (p - e) for a, p, e in zip(v[i], pulls[i], eps[i], strict=True)] for i in range(len(v))]
    eps, seen = errors()
    return [outer([-value / precision for value in e], h) for e, h in zip(eps, seen, strict=True)]


def loss(logits: Vector, label: Vector) -> float:
    return -math.log(sum(p * t for p, t in zip(softmax(logits), label, strict=True)))


def node_perturbation(W: list[Matrix], xi: list[Vector], sigma: float, x: Vector, label: Vector) -> list[Matrix]:
    h, noisy = layers(W, x), x
    for i, matrix in enumerate(W):
        noisy = [a + sigma * n for a, n in zip(times(matrix, noisy), xi[i], strict=True)]
        noisy = relu(noisy) if i < len(W) - 1 else noisy
    worse = (loss(noisy, label) - loss(h[-1], label)) / sigma
    return [outer([worse * n for n in xi[i]], h[i]) for i in range(len(W))]
