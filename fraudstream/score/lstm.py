"""An LSTM that reads a user's last transactions and says which amounts it would expect next; more than that surprises.

Only the upper side counts, s = max(-log P(amount >= a) - threshold, 0). What surprised lately counts on, e_i = s_i
exp(-age_i / 5 d): s + P(amount < a) * the largest e + 1.5 * max(sum of the others - allowances, 0). One large amount
before may have been the owner's own, so it counts as far as this one is large as well; several are a streak. Each step
costs an allowance, as in features/surprise.py. The plain likelihood of the next event finds no fraud at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import compiled
from fraudstream.score.lstm_kernel import LstmWeights, shapes_of, surprise_of, weights_of
from fraudstream.score.parameters import Parameters, checked
from fraudstream.score.steps import StepEncoder

MAX_CATEGORIES = 64
SESSION_S = 5 * 86_400.0
STREAK_WEIGHT = 1.5
ALLOWANCE = 0.2
"""Twice the mean excess: a tenth of the surprises exceeds the threshold, in an exponential distribution by one nat."""


@dataclass(frozen=True, slots=True, eq=False)
class Lstm:
    """The encoder, the network behind it, and from which surprise on an amount counts.

    Attributes:
        parameters: of a `fraudstream.training.networks.LstmNetwork`.
        threshold: training quantile of -log P(amount >= a), in nats.

    Raises:
        ValueError: the parameters are not those of such a network, with a place for each of the encoder's categories.
    """

    encoder: StepEncoder
    parameters: Parameters = field(repr=False)
    threshold: float
    _weights: LstmWeights = field(init=False, repr=False)

    def __post_init__(self) -> None:
        checked("lstm", self.parameters, shapes_of(len(self.encoder.vocabulary)))
        object.__setattr__(self, "_weights", weights_of(self.parameters))

    def score(self, sequences: NDArray[np.uint32]) -> NDArray[np.float64]:
        """Anomaly score of each row: surprise of its amount, and of the recent ones before it.

        Args:
            sequences: (n, steps, SEQUENCE_COLUMNS) as the feature engine gives them.
        """
        surprise, age_s = self.surprise(sequences)
        scores = np.empty(len(surprise))
        _session(surprise, age_s, self.threshold, SESSION_S, scores)
        return scores

    def surprise(self, sequences: NDArray[np.uint32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """-log P(amount >= a) of every step but the first, (n, steps - 1) in nats, and the steps' ages in seconds."""
        steps = self.encoder(sequences)
        surprise = np.empty((len(sequences), max(sequences.shape[1] - 1, 0)))
        surprise_of(steps.numbers, steps.category, steps.amount_bin, *self._weights, surprise)
        return surprise, steps.age_s[:, 1:]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What an artifact keeps."""
        own = {"threshold": np.array([self.threshold])}
        return {**own, **self.encoder.tensors(), **self.parameters}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[Any]]) -> Lstm:
        """The reverse of `tensors`."""
        parameters = dict(tensors)
        encoder = StepEncoder(parameters.pop("vocabulary"), parameters.pop("scale"))
        threshold = float(parameters.pop("threshold")[0])
        return cls(encoder, parameters, threshold)


@compiled
def _session(
    surprise: NDArray[np.float64],
    age_s: NDArray[np.int64],
    threshold: float,
    decay_s: float,
    scores: NDArray[np.float64],
) -> None:
    for row in range(len(surprise)):
        last = surprise.shape[1] - 1
        others, largest = 0.0, 0.0
        for step in range(last):
            if age_s[row, step] >= 0:
                # A surprise that is not a number must reach the score, where it is seen: no comparison drops it.
                excess = surprise[row, step] - threshold
                weight = math.exp(-age_s[row, step] / decay_s)
                echo = 0.0 if excess <= 0.0 else excess * weight
                others += echo - ALLOWANCE * weight
                largest = max(largest, echo)
        others -= largest
        excess = surprise[row, last] - threshold
        now = 0.0 if excess <= 0.0 else excess
        share_below = 1.0 - math.exp(-surprise[row, last])
        scores[row] = now + share_below * largest + (0.0 if others <= 0.0 else STREAK_WEIGHT * others)
