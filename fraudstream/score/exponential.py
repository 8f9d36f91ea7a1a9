"""exp in single precision, written so that a compiler makes vector instructions of it; for the small networks.

Only additions, multiplications and a cast, each rounded as IEEE 754 says: the bits are the same on every machine and
at every place of a vector, which no library of vector functions promises.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled

LEAST, MOST = np.float32(-87.0), np.float32(88.0)
"""Beyond these the result would leave the normal numbers: it stays that of the border."""

_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_PER_LN2 = np.float32(1.0 / math.log(2.0))
# log 2 in two parts, the first short enough that a multiple of it is exact (Cody and Waite, 1980).
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(math.log(2.0) - 0.693359375)
# Taylor's series to the seventh power: over |r| <= log(2) / 2 the rest is below 1e-8.
_C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(1.0 / math.factorial(n)) for n in range(2, 8))
_BIAS, _MANTISSA_BITS = 127, 23


@compiled
def exp_of(values: NDArray[np.float32], powers: NDArray[np.int32], scales: NDArray[np.float32], count: Int) -> None:
    """Replaces the first `count` values by their exponentials, right to 2e-7 of each; what is no number stays none.

    Args:
        powers, scales: (>= count,) scratch: one array of bits, seen as integers and as floats.
    """
    for i in range(count):
        value = values[i]
        value = LEAST if value < LEAST else value
        value = MOST if value > MOST else value
        power = np.floor(value * _PER_LN2 + _HALF)
        r = (value - power * _LN2_HIGH) - power * _LN2_LOW
        series = _C4 + r * (_C5 + r * (_C6 + r * _C7))
        values[i] = _ONE + r * (_ONE + r * (_C2 + r * (_C3 + r * series)))
        powers[i] = (np.int32(power) + _BIAS) << _MANTISSA_BITS
    for i in range(count):
        values[i] *= scales[i]


@compiled
def add_products(
    inputs: NDArray[np.float32], weights: NDArray[np.float32], sums: NDArray[np.float32], inner: Int, outer: Int
) -> None:
    """sums[:outer] += inputs[:inner] @ weights[:inner, :outer], each sum in the order of the inputs; `inner` is 8 n."""
    for k in range(0, inner, 8):
        a, b, c, d = inputs[k], inputs[k + 1], inputs[k + 2], inputs[k + 3]
        e, f, g, h = inputs[k + 4], inputs[k + 5], inputs[k + 6], inputs[k + 7]
        for j in range(outer):
            first = ((sums[j] + a * weights[k, j]) + b * weights[k + 1, j]) + c * weights[k + 2, j]
            second = ((first + d * weights[k + 3, j]) + e * weights[k + 4, j]) + f * weights[k + 5, j]
            sums[j] = (second + g * weights[k + 6, j]) + h * weights[k + 7, j]
