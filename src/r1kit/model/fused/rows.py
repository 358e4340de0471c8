"""What kernels compute of a row. Arrays are float32, or bfloat16 as its bits; sums are float32."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from r1kit.model.fused.compiler import float32_of_bits, from_float32, kernel, to_float32

Array = Any  # NumPy's, or a scalar
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
LOG2_E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
MIN_EXPONENT = np.float32(-87)  # exp of less is 0
# The minimax polynomial of Cephes' expf (Moshier 1992): exp(x) = 1 + x + x^2 p(x) for |x| <= log(2) / 2.
P0, P1, P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
P3, P4, P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@kernel
def exp(x: Array) -> Array:
    """Compute the exponential of x <= 0 without the C library, so that loops over it use vectors. NaN stays NaN."""
    bounded = MIN_EXPONENT if x < MIN_EXPONENT else x
    power = np.floor(bounded * LOG2_E + HALF)
    rest = bounded - power * LN2_HIGH - power * LN2_LOW
    p = ((((P0 * rest + P1) * rest + P2) * rest + P3) * rest + P4) * rest + P5
    scale = float32_of_bits((np.int32(power) + np.int32(127)) << np.int32(23))
    return ZERO if x < MIN_EXPONENT else (p * rest * rest + rest + ONE) * scale


@kernel
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    small = exp(-abs(x))
    return (ONE if x >= ZERO else small) / (ONE + small)


@partial(kernel, fastmath=True)
def largest(x: Array) -> Array:
    """Return the largest element of a row. Four partial maxima do not wait for each other."""
    a = b = c = d = x[0]
    fours = len(x) - len(x) % 4
    for i in range(0, fours, 4):
        a, b, c, d = max(a, x[i]), max(b, x[i + 1]), max(c, x[i + 2]), max(d, x[i + 3])
    for i in range(fours, len(x)):
        a = max(a, x[i])
    return max(max(a, b), max(c, d))


@kernel
def copy(x: Array, to: Array) -> None:
    """Copy a row. Numba's assignment of a whole row takes several times as long."""
    for i in range(len(x)):
        to[i] = x[i]


@kernel
def norm_scale(x: Array, eps: Array) -> Array:
    """Return what RMSNorm multiplies a row with, besides its gain."""
    squares = ZERO
    for i in range(len(x)):
        squares += x[i] * x[i]
    return ONE / np.sqrt(squares / np.float32(len(x)) + eps)


@kernel
def normalize(x: Array, gain: Array, eps: Array, row: Array, normed: Array) -> None:
    """Write the RMSNorm of a row to `normed`; `row` is float32 memory for a copy of it."""
    for d in range(len(x)):
        row[d] = to_float32(x[d])
    scale = norm_scale(row, eps)
    for d in range(len(x)):
        normed[d] = from_float32(row[d] * scale * to_float32(gain[d]), normed)


@kernel
def share(count: int, thread: int, threads: int) -> Any:
    """Return the rows that a thread computes."""
    return range(count * thread // threads, count * (thread + 1) // threads)
