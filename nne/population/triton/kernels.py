"""A generation on a GPU, in three Triton kernels: genotypes drawn, expressed, and evaluated without a hidden layer.

``evaluate`` is the contraction of ``nne/population/torch.py`` with everything that follows it. A program holds the
logits of ``BN`` genotypes on ``BB`` images and goes through the hidden units: a product on tensor cores, ReLU, and so
much more in every class. What it writes is the reward, or the logits; the hidden layer never leaves the registers.

Every sum has one order, whatever the sizes of tiles and the number of workers: same seed, same bits.
"""

import triton
import triton.language as tl

CHUNK = 32  # edges of a unit that one product takes
BN, BB, WARPS = 32, 64, 8  # genotypes and images of a program, and its warps


@triton.jit
def draw(genes, threshold, always, keys, x, n, BLOCK: tl.constexpr):
    """``x: [N, n]`` as in ``nne.genome.draw``: a program for each individual and ``BLOCK`` genes."""
    individual = tl.program_id(0)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here = i < n
    first = tl.load(keys + 2 * individual).to(tl.uint32, bitcast=True)
    second = tl.load(keys + 2 * individual + 1).to(tl.uint32, bitcast=True)
    u = tl.load(genes + i, mask=here, other=0).to(tl.uint32, bitcast=True) * 0x9E3779B9 + first
    u = _scramble(_scramble(u) + second).to(tl.int32, bitcast=True)
    carried = (u < tl.load(threshold + i, mask=here, other=0)) | (tl.load(always + i, mask=here, other=0) != 0)
    tl.store(x + individual.to(tl.int64) * n + i, carried.to(tl.int8), mask=here)


@triton.jit
def _scramble(u):
    u = (u ^ (u >> 16)) * 0x7FEB352D
    u = (u ^ (u >> 15)) * 0x846CA68B
    return u ^ (u >> 16)


@triton.jit
def express(x, offsets, genes, values, weights, N, RECTIFIED: tl.constexpr, BLOCK: tl.constexpr):
    """``weights: [slots, N]`` of genotypes ``x: [n, N]``: a program for each row of ``W`` and ``BLOCK`` genotypes."""
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    weight = tl.zeros([BLOCK], tl.float32)
    for at in range(tl.load(offsets + row), tl.load(offsets + row + 1)):
        carriers = tl.load(x + tl.load(genes + at).to(tl.int64) * N + n, mask=n < N, other=0)
        weight += tl.load(values + at) * carriers.to(tl.float32)
    if RECTIFIED:
        weight = tl.maximum(weight, 0.0)
    tl.store(weights + row * N + n, weight.to(weights.dtype.element_ty), mask=n < N)


@triton.jit
def evaluate(
    weights,
    first,
    source,
    pixels,
    labels,
    out,
    N,
    B,
    units,
    temperature,
    ceiling,
    C: tl.constexpr,
    CHUNK: tl.constexpr,
    BN: tl.constexpr,
    BB: tl.constexpr,
    REWARD: tl.constexpr,
    WIDEN: tl.constexpr,
):
    """Rewards added up over ``BB`` images, ``out: [tiles of images, N]``; or logits, ``out: [N, C, B]``.

    Unit ``u``'s edges are the rows ``first[u]`` to ``first[u + 1]`` of ``weights: [slots, N]``, in whole chunks, and
    come from ``source: [slots]``, rows of ``pixels: [inputs + 1, B]``. Its output weights are ``C`` rows after all
    edges.
    ``WIDEN``: multiply in float32, since the interpreter's ``dot`` takes bfloat16 for integers.
    """
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    b = tl.program_id(1) * BB + tl.arange(0, BB)
    k = tl.arange(0, CHUNK)
    individual, image = n < N, b < B
    begin = tl.load(first)
    outputs = weights + tl.load(first + units).to(tl.int64) * N + n
    z = (tl.zeros([BN, BB], tl.float32),) * C
    for u in range(units):
        end = tl.load(first + u + 1)
        h = tl.zeros([BN, BB], tl.float32)
        for at in range(begin, end, CHUNK):
            slot = (at + k).to(tl.int64)
            w = tl.load(weights + slot[None, :] * N + n[:, None], mask=individual[:, None], other=0.0)
            seen = tl.load(source + slot)[:, None] * B + b[None, :]
            y = tl.load(pixels + seen, mask=image[None, :], other=0.0)
            if WIDEN:
                w, y = w.to(tl.float32), y.to(tl.float32)
            h = tl.dot(w, y, h, input_precision="ieee")
        begin = end
        h = tl.maximum(h, 0.0)
        more = ()
        for c in tl.static_range(C):
            w = tl.load(outputs, mask=individual, other=0.0).to(tl.float32)
            more = more + (z[c] + h * w[:, None],)  # noqa: RUF005  # Triton knows no *
            outputs += N
        z = more
    if REWARD:
        most = z[0] / temperature
        for c in tl.static_range(1, C):
            most = tl.maximum(most, z[c] / temperature)
        total, right = tl.zeros([BN, BB], tl.float32), tl.zeros([BN, BB], tl.float32)
        label = tl.load(labels + b, mask=image, other=0)
        for c in tl.static_range(C):
            scaled = z[c] / temperature - most
            total += tl.exp(scaled)
            right += tl.where(label[None, :] == c, scaled, 0.0)
        paid = tl.where(image[None, :], tl.maximum(ceiling + right - tl.log(total), 0.0), 0.0)
        tl.store(out + tl.program_id(1) * N + n, tl.sum(paid, axis=1), mask=individual)
    else:
        for c in tl.static_range(C):
            at = (n[:, None] * C + c).to(tl.int64) * B + b[None, :]
            tl.store(out + at, z[c], mask=individual[:, None] & image[None, :])
