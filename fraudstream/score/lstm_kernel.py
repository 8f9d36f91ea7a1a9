"""The LSTM's way from encoded steps to surprise, compiled; `LstmNetwork` in training/networks.py is its
definition.

A row's bits depend on the row alone, whatever batch it comes in. A category's part of a sum is
looked up in a table that was made when the model was loaded.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, vectorised
from fraudstream.score.exponential import add_products, exp_of
from fraudstream.score.parameters import Parameters
from fraudstream.score.steps import STEP_NUMBERS

HIDDEN = 24
EMBEDDING = 8
HEAD = 24
AMOUNT_BINS = 24
SMALLEST_PROBABILITY = 1e-30

_GATES = 4 * HIDDEN
"""Input, forget, cell and output, as torch orders them."""
_INPUTS = HIDDEN + 8
"""What a matrix product reads: the state, the numbers of a step, and zeros up to a multiple of eight."""
_TOGETHER = 16
"""Rows whose exponentials are made in one go: one row alone leaves the processor waiting for the one before."""
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)

Floats = NDArray[np.float32]


class LstmWeights(NamedTuple):
    """The network's parameters as the kernel reads them, inputs first.

    Attributes:
        by_category: (categories, 4 HIDDEN) what the gates get from a step's category, with their biases.
        gates: (_INPUTS, 4 HIDDEN).
        head_by_category: (categories, HEAD) what the head gets from a step's category, with its biases.
        head: (_INPUTS, HEAD); of a step's numbers the amount counts nothing.
        amount: (HEAD, AMOUNT_BINS).
        amount_bias: (AMOUNT_BINS,).
    """

    by_category: Floats
    gates: Floats
    head_by_category: Floats
    head: Floats
    amount: Floats
    amount_bias: Floats


def shapes_of(categories: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of a network that knows so many categories, named as torch names them."""
    step = STEP_NUMBERS + EMBEDDING
    return {
        "categories.weight": (categories + 1, EMBEDDING),
        "recurrent.weight_ih_l0": (_GATES, step),
        "recurrent.weight_hh_l0": (_GATES, HIDDEN),
        "recurrent.bias_ih_l0": (_GATES,),
        "recurrent.bias_hh_l0": (_GATES,),
        "from_history.weight": (HEAD, HIDDEN),
        "from_history.bias": (HEAD,),
        "from_circumstances.weight": (HEAD, step - 1),
        "from_circumstances.bias": (HEAD,),
        "amount.weight": (AMOUNT_BINS, HEAD),
        "amount.bias": (AMOUNT_BINS,),
    }


def weights_of(parameters: Parameters) -> LstmWeights:
    """Reads the parameters.

    Sums over an embedding are made in double precision: they are made once. The cell gates count twice, because
    tanh(x) = 2 sigmoid(2 x) - 1, and the gates' signs are turned, as sigmoid needs them; neither loses a bit.
    """
    of = {name: array.astype(np.float64) for name, array in parameters.items()}
    step, embedding = of["recurrent.weight_ih_l0"], of["categories.weight"]
    turned = -np.repeat([1.0, 1.0, 2.0, 1.0], HIDDEN)
    bias = of["recurrent.bias_ih_l0"] + of["recurrent.bias_hh_l0"]
    gates, head = np.zeros((_INPUTS, _GATES)), np.zeros((_INPUTS, HEAD))
    gates[:HIDDEN], head[:HIDDEN] = of["recurrent.weight_hh_l0"].T, of["from_history.weight"].T
    gates[HIDDEN : HIDDEN + STEP_NUMBERS] = step[:, :STEP_NUMBERS].T
    head[HIDDEN + 1 : HIDDEN + STEP_NUMBERS] = of["from_circumstances.weight"][:, : STEP_NUMBERS - 1].T
    head_embedding = of["from_circumstances.weight"][:, STEP_NUMBERS - 1 :].T
    head_bias = of["from_circumstances.bias"] + of["from_history.bias"]
    weights = (
        (embedding @ step[:, STEP_NUMBERS:].T + bias) * turned,
        gates * turned,
        embedding @ head_embedding + head_bias,
        head,
        of["amount.weight"].T,
        of["amount.bias"],
    )
    return LstmWeights(*(np.ascontiguousarray(array, np.float32) for array in weights))


@vectorised
def surprise_of(
    numbers: Floats,
    category: NDArray[np.int64],
    amount_bin: Floats,
    by_category: Floats,
    gate_weights: Floats,
    head_by_category: Floats,
    head_weights: Floats,
    amount: Floats,
    amount_bias: Floats,
    surprise: NDArray[np.float64],
) -> None:
    """Fills (rows, steps - 1) with -log P(amount >= a) of every step but the first."""
    inputs, cell = np.zeros((_TOGETHER, _INPUTS), np.float32), np.zeros((_TOGETHER, HIDDEN), np.float32)
    gates, head = np.empty((_TOGETHER, _GATES), np.float32), np.empty((_TOGETHER, HEAD), np.float32)
    chances, echo = np.empty((_TOGETHER, AMOUNT_BINS), np.float32), np.empty(_TOGETHER * HIDDEN, np.float32)
    powers = np.empty(_TOGETHER * _GATES, np.int32)
    scales = powers.view(np.float32)
    for start in range(0, numbers.shape[0], _TOGETHER):
        rows = min(numbers.shape[0] - start, _TOGETHER)
        inputs[:], cell[:] = _ZERO, _ZERO
        for step in range(numbers.shape[1] - 1):
            _read(numbers[start : start + rows, step], category[start : start + rows, step], by_category, inputs, gates)
            add_products(inputs, gate_weights, gates, rows, _INPUTS, _GATES)
            exp_of(gates.reshape(-1), powers, scales, rows * _GATES)
            _advance(gates, cell, echo, inputs, powers, scales, rows)
            after = step + 1
            _read(
                numbers[start : start + rows, after], category[start : start + rows, after], head_by_category,
                inputs, head,
            )  # fmt: skip
            add_products(inputs, head_weights, head, rows, _INPUTS, HEAD)
            for row in range(rows):
                for i in range(HEAD):
                    head[row, i] = _ZERO if head[row, i] < _ZERO else head[row, i]
                for i in range(AMOUNT_BINS):
                    chances[row, i] = amount_bias[i]
            add_products(head, amount, chances, rows, HEAD, AMOUNT_BINS)
            for row in range(rows):
                _from_largest(chances[row])
            exp_of(chances.reshape(-1), powers, scales, rows * AMOUNT_BINS)
            for row in range(rows):
                position = np.float64(amount_bin[start + row, step + 1])
                surprise[start + row, step] = _upper_tail(chances[row], position)


@vectorised
def _read(numbers: Floats, category: NDArray[np.int64], by_category: Floats, inputs: Floats, sums: Floats) -> None:
    """One step of some rows: its numbers behind the state, and sums that begin with what its category gives."""
    for row in range(len(numbers)):
        begins, total = by_category[category[row]], sums[row]
        for i in range(STEP_NUMBERS):
            inputs[row, HIDDEN + i] = numbers[row, i]
        for i in range(len(begins)):
            total[i] = begins[i]


@vectorised
def _advance(
    gates: Floats,
    cell: Floats,
    echo: Floats,
    inputs: Floats,
    powers: NDArray[np.int32],
    scales: Floats,
    rows: Int,
) -> None:
    """One step of the cells; `gates` come in as exponentials of their turned sums."""
    flat = gates.reshape(-1)
    for i in range(rows * _GATES):
        flat[i] = _ONE / (_ONE + flat[i])
    for row in range(rows):
        for j in range(HIDDEN):
            new = _TWO * gates[row, 2 * HIDDEN + j] - _ONE
            cell[row, j] = gates[row, HIDDEN + j] * cell[row, j] + gates[row, j] * new
            echo[row * HIDDEN + j] = -_TWO * cell[row, j]
    exp_of(echo, powers, scales, rows * HIDDEN)
    for i in range(rows * HIDDEN):
        echo[i] = _TWO / (_ONE + echo[i]) - _ONE
    for row in range(rows):
        for j in range(HIDDEN):
            inputs[row, j] = gates[row, 3 * HIDDEN + j] * echo[row * HIDDEN + j]


@vectorised
def _from_largest(logits: Floats) -> None:
    largest = logits[0]
    for i in range(1, AMOUNT_BINS):
        largest = logits[i] if logits[i] > largest else largest
    for i in range(AMOUNT_BINS):
        logits[i] -= largest


@vectorised
def _upper_tail(chances: Floats, position: float) -> float:
    """-log P(amount >= a) of an amount at this position among the bins; `chances` need not sum to 1."""
    at: Int = min(max(np.int64(math.floor(position)), 0), AMOUNT_BINS - 1)
    # Even within a bin, and falling off behind the last one, so that larger always surprises more.
    into = max(position - at, 0.0)
    share = 1.0 - into if at < AMOUNT_BINS - 1 else math.exp(-into)
    below = above = 0.0
    for i in range(at):
        below += np.float64(chances[i])
    for i in range(at + 1, AMOUNT_BINS):
        above += np.float64(chances[i])
    here = np.float64(chances[at])
    tail = (above + share * here) / (below + here + above)
    # Written so that a tail that is not a number stays none and is seen.
    return -math.log(SMALLEST_PROBABILITY if tail < SMALLEST_PROBABILITY else tail)
