"""exp in single precision, written so that a compiler makes vector instructions of it; for the small networks.

Only additions, multiplications and a cast, each rounded as IEEE 754 says: the bits are the same on every machine and
at every place of a vector, which no library of vector functions promises.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined

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

Floats = NDArray[np.float32]


@inlined
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


@inlined
def add_products(inputs: Floats, weights: Floats, sums: Floats, rows: Int, inner: Int, outer: Int) -> None:
    """sums[:rows, :outer] += inputs[:rows, :inner] @ weights[:inner, :outer]; `inner` is a multiple of four.

    Each sum is made in the order of the inputs, so a row's bits do not depend on the rows beside it. Four rows at a
    time, because to read a weight takes as long as to multiply by it.
    """
    whole = rows - rows % 4
    for row in range(0, whole, 4):
        _add_of_four(inputs[row : row + 4], weights, sums[row : row + 4], inner, outer)
    for row in range(whole, rows):
        _add_of_one(inputs[row], weights, sums[row], inner, outer)


@inlined
def _add_of_four(inputs: Floats, weights: Floats, sums: Floats, inner: Int, outer: Int) -> None:
    first, second, third, fourth = sums[0], sums[1], sums[2], sums[3]
    of_first, of_second, of_third, of_fourth = inputs[0], inputs[1], inputs[2], inputs[3]
    for k in range(0, inner, 4):
        a0, a1, a2, a3 = of_first[k], of_first[k + 1], of_first[k + 2], of_first[k + 3]
        b0, b1, b2, b3 = of_second[k], of_second[k + 1], of_second[k + 2], of_second[k + 3]
        c0, c1, c2, c3 = of_third[k], of_third[k + 1], of_third[k + 2], of_third[k + 3]
        d0, d1, d2, d3 = of_fourth[k], of_fourth[k + 1], of_fourth[k + 2], of_fourth[k + 3]
        for j in range(outer):
            w, x, y, z = weights[k, j], weights[k + 1, j], weights[k + 2, j], weights[k + 3, j]
            first[j] = (((first[j] + a0 * w) + a1 * x) + a2 * y) + a3 * z
            second[j] = (((second[j] + b0 * w) + b1 * x) + b2 * y) + b3 * z
            third[j] = (((third[j] + c0 * w) + c1 * x) + c2 * y) + c3 * z
            fourth[j] = (((fourth[j] + d0 * w) + d1 * x) + d2 * y) + d3 * z


@inlined
def _add_of_one(inputs: Floats, weights: Floats, sums: Floats, inner: Int, outer: Int) -> None:
    for k in range(0, inner, 4):
        a, b, c, d = inputs[k], inputs[k + 1], inputs[k + 2], inputs[k + 3]
        for j in range(outer):
            sums[j] = (((sums[j] + a * weights[k, j]) + b * weights[k + 1, j]) + c * weights[k + 2, j]) + d * weights[
                k + 3, j
            ]
