"""The autoencoder's way from surprise to residuals, compiled; `AutoencoderNetwork` in
training/networks.py is its definition.

A row's bits depend on the row alone, whatever batch it comes in.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, vectorised
from fraudstream.score.exponential import add_products, exp_of
from fraudstream.score.parameters import Parameters

WIDE, NARROW = 24, 4

_NARROW_INPUTS = 8
"""Matrix products read whole eights; what is more than there is counts nothing."""
_TOGETHER = 16
"""Rows whose exponentials are made in one go."""
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)

Floats = NDArray[np.float32]


class AutoencoderWeights(NamedTuple):
    """The network's parameters as the kernel reads them, inputs first, of k model inputs padded to whole eights.

    Attributes:
        cap: (k,) the encoder sees no more than this.
        weight: (k,) how much each residual counts.
        encode: (padded k, WIDE), and its biases (WIDE,).
        narrow: (WIDE, NARROW), and its biases (NARROW,).
        widen: (8, WIDE), and its biases (WIDE,).
        decode: (WIDE, k), and its biases (k,).
    """

    cap: Floats
    weight: Floats
    encode: Floats
    encode_bias: Floats
    narrow: Floats
    narrow_bias: Floats
    widen: Floats
    widen_bias: Floats
    decode: Floats
    decode_bias: Floats


def shapes_of(inputs: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of a network that reads so many inputs, named as torch names them."""
    widths = (inputs, WIDE, NARROW, WIDE, inputs)
    shapes: dict[str, tuple[int, ...]] = {"cap": (inputs,), "weight": (inputs,)}
    for layer, (reads, gives) in enumerate(pairwise(widths)):
        shapes |= {f"layers.{2 * layer}.weight": (gives, reads), f"layers.{2 * layer}.bias": (gives,)}
    return shapes


def weights_of(of: Parameters) -> AutoencoderWeights:
    """Reads the parameters; what goes through tanh counts twice, because tanh(x) = 1 - 2 / (1 + exp(2 x))."""
    weights = [of["cap"], of["weight"]]
    for layer, factor in ((0, _TWO), (2, _TWO), (4, _TWO), (6, _ONE)):
        inputs_first = of[f"layers.{layer}.weight"].T * factor
        missing = -len(inputs_first) % 8
        weights += [np.pad(inputs_first, ((0, missing), (0, 0))), of[f"layers.{layer}.bias"] * factor]
    return AutoencoderWeights(*(np.array(array, np.float32, order="C") for array in weights))


@vectorised
def residuals_of(
    surprise: Floats,
    cap: Floats,
    weight: Floats,
    encode: Floats,
    encode_bias: Floats,
    narrow: Floats,
    narrow_bias: Floats,
    widen: Floats,
    widen_bias: Floats,
    decode: Floats,
    decode_bias: Floats,
    residual: Floats,
    scores: NDArray[np.float64],
) -> None:
    """Fills (rows, k) with the weighted squared positive residuals and (rows,) with their means."""
    inputs = surprise.shape[1]
    capped, wide = np.zeros((_TOGETHER, len(encode)), np.float32), np.empty((_TOGETHER, WIDE), np.float32)
    small, expected = np.zeros((_TOGETHER, _NARROW_INPUTS), np.float32), np.empty((_TOGETHER, inputs), np.float32)
    powers = np.empty(_TOGETHER * WIDE, np.int32)
    scales = powers.view(np.float32)
    for start in range(0, len(surprise), _TOGETHER):
        rows = min(len(surprise) - start, _TOGETHER)
        for row in range(rows):
            for i in range(inputs):
                value = surprise[start + row, i]
                capped[row, i] = cap[i] if value > cap[i] else value
        _layer(capped, encode, encode_bias, wide, rows, WIDE)
        _tanh(wide, powers, scales, rows * WIDE)
        _layer(wide, narrow, narrow_bias, small, rows, NARROW)
        _tanh(small, powers, scales, rows * _NARROW_INPUTS)
        _layer(small, widen, widen_bias, wide, rows, WIDE)
        _tanh(wide, powers, scales, rows * WIDE)
        _layer(wide, decode, decode_bias, expected, rows, inputs)
        for row in range(rows):
            scores[start + row] = _excess(surprise[start + row], expected[row], weight, residual[start + row])


@vectorised
def _layer(inputs: Floats, weights: Floats, bias: Floats, outputs: Floats, rows: Int, width: Int) -> None:
    for row in range(rows):
        for i in range(width):
            outputs[row, i] = bias[i]
    add_products(inputs, weights, outputs, rows, len(weights), width)


@vectorised
def _tanh(doubled: Floats, powers: NDArray[np.int32], scales: Floats, count: Int) -> None:
    flat = doubled.reshape(-1)
    exp_of(flat, powers, scales, count)
    for i in range(count):
        flat[i] = _ONE - _TWO / (_ONE + flat[i])


@vectorised
def _excess(surprise: Floats, expected: Floats, weight: Floats, residual: Floats) -> float:
    """What exceeds the reconstruction; comparisons are written so that what is no number stays none and is seen."""
    total = 0.0
    for i in range(len(surprise)):
        # No surprise is less than none: what does not surprise has no residual, and so is no reason.
        usual = _ZERO if expected[i] < _ZERO else expected[i]
        excess = surprise[i] - usual
        excess = _ZERO if excess < _ZERO else excess
        residual[i] = excess * excess * weight[i]
        total += np.float64(residual[i])
    return float(total / len(surprise))
