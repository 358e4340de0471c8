"""What kernels compute of a row. Arrays are float32, or bfloat16 as its bits; sums are float32."""

from __future__ import annotations

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
MIN_POWER = np.float32(-127)  # 2 ** -127 is computed as 0
# The Taylor series of 2 ** x; its error is at most 2e-7 of a weight for |x| <= 1 / 2
C1, C2, C3 = np.float32(0.69314718), np.float32(0.24022651), np.float32(5.5504109e-2)
C4, C5, C6 = np.float32(9.6181291e-3), np.float32(1.3333558e-3), np.float32(1.5403530e-4)


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
def power_of_two(x: Array) -> Array:
    """Compute 2 ** x for x <= 0 in fewer steps than `exp`. NaN stays NaN."""
    bounded = MIN_POWER if x < MIN_POWER else x
    whole = np.floor(bounded + HALF)
    rest = bounded - whole
    scale = float32_of_bits((np.int32(whole) + np.int32(127)) << np.int32(23))
    return ((((((C6 * rest + C5) * rest + C4) * rest + C3) * rest + C2) * rest + C1) * rest + ONE) * scale


@kernel
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    small = exp(-abs(x))
    return (ONE if x >= ZERO else small) / (ONE + small)


@kernel
def largest(x: Array) -> Array:
    """Return the largest element of a float32 row.

    Elements are compared as integers in the same order, so that the loop uses vectors. NaN counts as larger than
    infinity, or smaller than all, by its sign; a sum that it is part of shows it.
    """
    bits, most = x.view(np.int32), np.int32(-(2**31))
    for i in range(len(bits)):
        most = max(most, bits[i] ^ ((bits[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    return float32_of_bits(most ^ ((most >> np.int32(31)) & np.int32(0x7FFFFFFF)))


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
