"""Transactions as they may come: good ones, and ones with fields that are wrong in likely and in odd ways."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fraudstream.transaction import EARLIEST_S, MAX_AMOUNT, MILLISECONDS_FROM

NOW_S = 1_893_456_000  # 2030
BASE = {"transaction_id": "t", "user_id": "u", "amount": 1, "merchant": "m"}
CONTROL = [chr(code) for code in (*range(32), 127)]

texts = st.one_of(
    st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=1, max_size=8),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from([1, 2, 3, 4, 127, 128, 129, 255, 256, 257]).map(lambda chars: "é" * chars),
    st.tuples(st.sampled_from(CONTROL), st.sampled_from(["", "a"])).map(lambda parts: parts[1] + parts[0]),
)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
    st.sampled_from([0, -0.0, MAX_AMOUNT, MAX_AMOUNT + 0.01, 90, -90, 90.0001, 180, -180, -180.0001, 1e308, 10**40]),
)
epochs = st.one_of(
    st.integers(EARLIEST_S - 3, NOW_S),
    st.floats(EARLIEST_S - 3, NOW_S),
    st.sampled_from([EARLIEST_S - 1, EARLIEST_S, MILLISECONDS_FROM - 1, MILLISECONDS_FROM, EARLIEST_S * 1000 - 1]),
    st.integers(EARLIEST_S * 1000 - 3, NOW_S * 1000),
)
digits = st.integers(0, 61).map(lambda number: f"{number:02}")
times = st.builds(
    lambda year, month, day, t, hour, minute, second, fraction, zone: (
        f"{year:04}-{month}-{day}{t}{hour}:{minute}:{second}{fraction}{zone}"
    ),
    st.integers(1990, 2029),
    digits,
    digits,
    st.sampled_from("Tt"),
    digits,
    digits,
    digits,
    st.sampled_from(["", ".", ".5", ".123456789012", ",5"]),
    st.one_of(
        st.sampled_from(["Z", "z", "", "+", "+1", "UTC", "-00:00", "+24:00", "+01:60", "Z\n"]),
        st.builds(lambda sign, hour, minute: f"{sign}{hour}:{minute}", st.sampled_from("+-"), digits, digits),
    ),
)
likely_times = st.builds(
    lambda month, day, hour, fraction, zone: f"2025-{month:02}-{day:02}T{hour:02}:59:59{fraction}{zone}",
    st.integers(0, 13),
    st.integers(0, 32),
    st.integers(0, 25),
    st.sampled_from(["", ".5", ".123456789012"]),
    st.sampled_from(["Z", "z", "+14:00", "-23:59", "+00:00", "", "-24:00"]),
)
others = st.one_of(st.none(), st.booleans(), st.just([]), st.just({}), st.just([1]), st.just({"a": 1}))
anything = st.one_of(texts, numbers, epochs, times, likely_times, others)
natural = {
    "transaction_id": texts,
    "user_id": texts,
    "amount": numbers | st.floats(0, MAX_AMOUNT),
    "merchant": texts,
    "category": texts,
    "location": texts,
    "device_id": texts,
    "timestamp": epochs | times | likely_times,
    "latitude": numbers | st.floats(-90, 90),
    "longitude": numbers | st.floats(-180, 180),
    "currency": texts | st.just("USD"),
}
NAMES = st.sampled_from([*natural, *natural, "note"])


@st.composite
def transactions(draw: st.DrawFn) -> Any:
    """A good transaction with up to three of its fields taken away or given another value, mostly of a fitting kind."""
    fields: dict[str, Any] = dict(BASE)
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        what = draw(st.sampled_from(["natural"] * 8 + ["anything", "null", "gone"]))
        if what == "gone":
            fields.pop(name, None)
        else:
            fields[name] = draw({"natural": natural.get(name, anything), "anything": anything, "null": st.none()}[what])
    return fields
