"""Verdicts of a micro-batch from objects, for tests that make theirs up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fraudstream.emitted import Emitted, Verdicts
from fraudstream.verdict_lines import Lines
from fraudstream.wire.texts import joined, texts_of


def verdicts_of_emitted(emitted: Sequence[Emitted]) -> Verdicts:
    """What a worker would hold of them; their features all have one length."""
    nothing = [b""] * len(emitted)
    features = b"".join(each.features for each in emitted)
    return Verdicts(
        texts_of(nothing, nothing, [each.key for each in emitted], [each.transaction for each in emitted]),
        Lines(*joined(each.value for each in emitted)),
        np.frombuffer(features, np.uint8).reshape(len(emitted), -1 if features else 0),
        np.array([each.flagged for each in emitted], np.bool_),
        np.array([each.partition for each in emitted], np.int64),
        {row: each.anomaly_type for row, each in enumerate(emitted) if each.flagged},
    )
