"""Made-up transactions in the range of the training stream, to try a model on a machine before real ones come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.features.catalogue import CATALOGUE, MODEL_INPUTS, index_of
from fraudstream.features.engine import (
    SEQUENCE_CATEGORY,
    SEQUENCE_CENTS,
    SEQUENCE_COLUMNS,
    SEQUENCE_STEPS,
    SEQUENCE_TIME,
)
from fraudstream.score.steps import StepEncoder
from fraudstream.score.transform import TailTransform

_START_S = 1_700_000_000


def probe(transform: TailTransform, encoder: StepEncoder, rows: int) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Features (rows, FEATURE_COUNT) and sequences (rows, SEQUENCE_STEPS, SEQUENCE_COLUMNS), always the same ones."""
    random = np.random.default_rng(0)
    features = np.zeros((rows, len(CATALOGUE)), np.float32)
    for feature, knots in zip(MODEL_INPUTS, transform.knots, strict=True):
        values = random.choice(knots, rows) * (-1.0 if feature.risk == "low" else 1.0)
        features[:, index_of(feature.name)] = np.expm1(values) if feature.scale == "log1p" else values
    sequences = np.zeros((rows, SEQUENCE_STEPS, SEQUENCE_COLUMNS), np.uint32)
    mean, deviation = encoder.scale[:2]
    amounts = np.expm1(np.clip(random.normal(mean, 2 * deviation, (rows, SEQUENCE_STEPS)), 0.0, 16.0))
    sequences[..., SEQUENCE_TIME] = _START_S + np.cumsum(random.integers(0, 200_000, (rows, SEQUENCE_STEPS)), axis=1)
    sequences[..., SEQUENCE_CENTS] = np.round(amounts * 100.0)
    sequences[..., SEQUENCE_CATEGORY] = random.choice(np.append(encoder.vocabulary, 0), (rows, SEQUENCE_STEPS))
    # Every third user is known for less than ten transactions.
    for row in range(0, rows, 3):
        sequences[row, : random.integers(1, SEQUENCE_STEPS)] = 0
    return features, sequences
