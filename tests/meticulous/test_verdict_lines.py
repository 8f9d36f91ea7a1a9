"""Verdicts that are put together from columns are, byte for byte, those that are encoded as objects."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fraudstream.verdict import Reason, encode_verdict
from fraudstream.verdict_lines import VerdictColumns, encoded, verdicts_of

NAMES = [field.name for field in fields(VerdictColumns) if field.name not in ("model_version", "source")]

texts = st.text(min_size=1, max_size=12) | st.sampled_from(['","', '",', ",", "\\", '"', '\\",', "é\u2028\x7f", "😀"])
shares = st.floats(0.0, 1.0).map(lambda share: round(share, 6)) | st.sampled_from([0.0, 1.0, 1e-6, 1.2e-5, 0.5])
reasons = st.builds(Reason, texts, texts, st.floats(-1e12, 1e12), texts, st.none() | shares, shares, texts)
rows = st.tuples(
    texts,
    texts,
    shares,
    shares,
    st.booleans(),
    shares | st.just(0.9),
    st.just(()) | st.lists(reasons, min_size=1, max_size=3).map(tuple),
    st.lists(shares | st.just(math.nan), min_size=3, max_size=3),
    st.integers(0, 2**32 - 1) | st.integers(-(10**9), 2**34),
    st.integers(0, 2**42) | st.integers(-5000, 5000) | st.integers(2**42, 2**47),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.booleans(),
    st.booleans(),
    st.just(()) | st.lists(texts, max_size=2).map(tuple),
)


def columns_of(found: list[tuple[Any, ...]], model_version: str) -> VerdictColumns:
    columns = [list(column) for column in zip(*found, strict=True)] if found else [[] for _ in NAMES]
    named: dict[str, Any] = dict(zip(NAMES, columns, strict=True))
    return VerdictColumns(model_version=model_version, **named)


PLAIN = ("t", "u", 0.1, 0.9, False, 0.9, (), [0.1, 0.2, 0.3], 1_700_000_000, 1_700_000_000_123, 0, 7, False, False, ())


@settings(deadline=None, max_examples=300)
@given(st.lists(rows, max_size=6), texts)
@example([PLAIN, ('",', *PLAIN[1:])], "m-1")
@example([PLAIN, (*PLAIN[:7], [math.nan, 0.5, math.nan], *PLAIN[8:14], ("forest", "lstm"))], "m-1")
@example([(*PLAIN[:9], -1, *PLAIN[10:])], "m-1")
def test_columns_give_the_bytes_of_the_objects(found: list[tuple[Any, ...]], model_version: str) -> None:
    columns = columns_of(found, model_version)
    assert encoded(columns) == [encode_verdict(verdict) for verdict in verdicts_of(columns)]
