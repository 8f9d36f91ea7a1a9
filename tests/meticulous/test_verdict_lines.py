"""Verdicts that a kernel writes from columns are, byte for byte, those that are encoded as objects."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fraudstream.verdict import Reason, encode_verdict
from fraudstream.verdict_lines import VerdictColumns, encoded, verdicts_of
from fraudstream.wire.texts import json_texts, texts_of

LAST_MS = 253_402_300_799_999
"""Of the year 9999."""


class Row(NamedTuple):
    """A verdict's part of the columns."""

    transaction_id: str = "t"
    user_id: str = "u"
    anomaly: float = 0.1
    confidence: float = 0.9
    threshold: float = 0.9
    reasons: tuple[Reason, ...] = ()
    members: tuple[float, float, float] = (0.1, 0.2, 0.3)
    event_s: int = 1_700_000_000
    received_ms: int = 1_700_000_000_123
    partition: int = 0
    offset: int = 7
    late: bool = False
    duplicate: bool = False
    degraded: tuple[str, ...] = ()


texts = st.text(min_size=1, max_size=12) | st.sampled_from(['","', '",', ",", "\\", '"', '\\",', "é\u2028\x7f", "😀"])
shares = (
    st.integers(0, 1_000_000).map(lambda micro: micro / 1e6)
    | st.floats(0.0, 1.0).map(lambda share: round(share, 6))
    | st.sampled_from([0.0, 1.0, 1e-6, 1.2e-5, 9.9e-5, 1e-4, 0.001, 0.5])
)
ranks = shares | st.just(math.nan)
reasons = st.builds(Reason, texts, texts, st.floats(-1e12, 1e12), texts, st.none() | shares, shares, texts)
rows = st.builds(
    Row,
    transaction_id=texts,
    user_id=texts,
    anomaly=shares,
    confidence=shares,
    threshold=shares | st.just(0.9),
    reasons=st.just(()) | st.lists(reasons, min_size=1, max_size=3).map(tuple),
    members=st.tuples(ranks, ranks, ranks),
    event_s=st.integers(0, 2**32 - 1) | st.integers(-62_135_596_800, LAST_MS // 1000),
    received_ms=st.integers(0, 2**42) | st.integers(-5000, 5000) | st.integers(-62_135_596_800_000, LAST_MS),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    late=st.booleans(),
    duplicate=st.booleans(),
    degraded=st.just(()) | st.lists(texts, max_size=2).map(tuple),
)


def column(values: Iterable[Any], kind: Any = np.float64) -> Any:
    return np.array(list(values), kind)


def columns_of(found: list[Row], model_version: str) -> VerdictColumns:
    """The columns of these rows; what has a reason is flagged."""
    return VerdictColumns(
        texts=texts_of(json_texts([row.transaction_id for row in found]), json_texts([row.user_id for row in found])),
        anomaly=column(row.anomaly for row in found),
        confidence=column(row.confidence for row in found),
        flagged=column((bool(row.reasons) for row in found), np.bool_),
        thresholds=column(row.threshold for row in found),
        reasons={at: row.reasons for at, row in enumerate(found) if row.reasons},
        members=column(row.members for row in found).reshape(-1, 3),
        model_version=model_version,
        event_s=column((row.event_s for row in found), np.int64),
        received_ms=column((row.received_ms for row in found), np.int64),
        partitions=column((row.partition for row in found), np.int64),
        offsets=column((row.offset for row in found), np.int64),
        late=column((row.late for row in found), np.bool_),
        duplicate=column((row.duplicate for row in found), np.bool_),
        degraded={at: row.degraded for at, row in enumerate(found) if row.degraded},
    )


@settings(deadline=None, max_examples=300)
@given(st.lists(rows, max_size=6), texts)
@example([Row(), Row(transaction_id='",')], "m-1")
@example([Row(), Row(members=(math.nan, 0.5, math.nan), degraded=("forest", "lstm"))], "m-1")
@example([Row(received_ms=-1)], "m-1")
@example([Row(event_s=951_782_400), Row(event_s=4_107_542_400)], "m-1")  # 29 February 2000 and 1 March 2100
def test_columns_give_the_bytes_of_the_objects(found: list[Row], model_version: str) -> None:
    columns = columns_of(found, model_version)
    verdicts = list(verdicts_of(columns))
    assert encoded(columns).each() == [encode_verdict(verdict) for verdict in verdicts]
    said = [(verdict.transaction_id, verdict.user_id, verdict.reasons, verdict.degraded) for verdict in verdicts]
    assert said == [(row.transaction_id, row.user_id, row.reasons, row.degraded) for row in found]


def test_every_share_has_the_digits_that_json_gives_it() -> None:
    micro = np.unique(np.concatenate([np.arange(20_000), np.arange(0, 1_000_001, 997), [999_999, 1_000_000]]))
    columns = columns_of([Row(anomaly=share) for share in (micro / 1e6).tolist()], "m-1")
    assert encoded(columns).each() == [encode_verdict(verdict) for verdict in verdicts_of(columns)]
