"""The kernel reads only what `decode_transaction` accepts, as that reads it, and all that is plain."""

from __future__ import annotations

import json
import math
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from fraudstream.transaction import LAST_S, MAX_AMOUNT, MILLISECONDS_FROM
from fraudstream.wire.json_tokens import CLOSER, number, text_end
from fraudstream.wire.texts import PADDING
from tests.odd_transactions import BASE, NOW_S, natural, transactions
from tests.plain_rows import assert_same_as_one_by_one

RECEIVED_MS = NOW_S * 1000

BLANKS = st.sampled_from(["", "", "", " ", "\n", "\t", "\r", "  \n ", "\x00", "\x0b", "\u00a0", "\ufeff"])
NUMBERS = st.one_of(
    st.from_regex(r"-?[0-9]{1,20}([.][0-9]{0,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"-?(0|[1-9][0-9]{0,2})[.][0-9]{12,17}", fullmatch=True),
    st.floats(-180, 180).map(repr),
    st.floats(-180, 180, width=32).map(lambda value: repr(float(np.float32(value)))),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "-0", "-0.0", "0", "00", "1.", ".5", "1e5", "1E+5", "1e", "1e-2"]),
    st.sampled_from(["+1", "0x1", "1_0", "-", "1e400", "1e-400"]),
    st.sampled_from([str(2**53), str(2**53 + 1), str(2**64), str(10**40), str(MAX_AMOUNT), "42949672.951", "1" * 5000]),
)
LITERALS = st.sampled_from(["null", "true", "false", "nul", "nulll", "True", "[]", "{}", "[1]", '{"a":1}', "", "''"])
TEXTS = st.one_of(
    natural["merchant"].map(json.dumps),
    natural["merchant"].map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(max_size=6).map(lambda text: f'"{text}"'),
    st.integers(0, 300).map(lambda size: f'"{"x" * size}"'),
    st.integers(0, 300).map(lambda size: f'"{"é" * size}"'),
    st.sampled_from(['"a', 'a"', '"\\u00e9"', '"\\n"', '"\\"', '"\x7f"', '"\x1f"', '"a\\/b"']),
)
TIMES = st.one_of(
    natural["timestamp"].map(json.dumps),
    st.from_regex(r'"20[0-2][0-9]-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-6][0-9]', fullmatch=True).flatmap(
        lambda start: st.from_regex(
            r'([.][09][0-9]{0,9}|[.]9{1,9})?([Zz]|[+-][0-2][0-9]:?[0-6][0-9])"', fullmatch=True
        ).map(lambda end: start + end)
    ),
    st.floats(0, 4e9).map(repr),
    st.sampled_from([str(MILLISECONDS_FROM - 1), str(MILLISECONDS_FROM), f"{MILLISECONDS_FROM}.5", "946684799.9999"]),
)
VALUES = {
    name: st.one_of(TEXTS, TEXTS, TEXTS, LITERALS)
    if name not in {"amount", "latitude", "longitude", "timestamp"}
    else st.one_of(*[TIMES if name == "timestamp" else NUMBERS] * 4, NUMBERS, TEXTS, LITERALS)
    for name in natural
}
PLAIN_VALUES = {
    "transaction_id": '"t"', "user_id": '"u"', "amount": "1.25", "merchant": '"m"', "category": '"c"',
    "location": '"New York"', "device_id": '"d"', "timestamp": '"2026-11-22T10:30:00Z"', "latitude": "51.5",
    "longitude": "-0.12", "currency": '"EUR"', "note": '"n"', "": "1", "user_i": "2", "transaction_iD": "3",
}  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message that is nearly a plain one: a field or two has another value, or is gone, twice there, elsewhere."""
    names = ["transaction_id", "user_id", "amount", "merchant"]
    names += draw(st.lists(st.sampled_from([*natural, "note", "", "user_i", "transaction_iD"]), max_size=4))
    if draw(st.integers(0, 9)):
        names = list(dict.fromkeys(names))
    has_place = not {"latitude", "longitude"}.isdisjoint(names)
    if has_place and draw(st.integers(0, 3)):
        names += [name for name in ("latitude", "longitude") if name not in names]
    names = draw(st.permutations(names)) if draw(st.booleans()) else names
    odd = draw(st.lists(st.sampled_from(names), max_size=2))
    pairs = [(name, draw(VALUES.get(name, TEXTS)) if name in odd else PLAIN_VALUES[name]) for name in names]
    between: st.SearchStrategy[str] = BLANKS if draw(st.integers(0, 5)) == 0 else st.just("")
    text = ",".join(
        f'{draw(between)}"{name}"{draw(between)}:{draw(between)}{value}{draw(between)}' for name, value in pairs
    )
    text = f"{draw(between)}{{{text}}}{draw(between)}"
    data = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 7)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + draw(st.integers(0, 2)) :]
    return data


brokers_times = st.sampled_from([RECEIVED_MS] * 9 + [RECEIVED_MS + 999, 0, -1, -1500, 2**53 + 1, 2**62, 10**12 + 1])


@given(messages(), brokers_times)
@settings(max_examples=3_000, deadline=None)
@example(b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","x" :1,"x" :2}', RECEIVED_MS)
@example(b'{"transaction_id":"t","user_id":"u","amount":-0,"merchant":"m"}', RECEIVED_MS)
@example(b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"\xc3"}', RECEIVED_MS)
@example(b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m"},', RECEIVED_MS)
def test_what_the_kernel_reads_is_what_decode_transaction_reads(value: bytes, received_ms: int) -> None:
    (is_plain,) = assert_same_as_one_by_one([value], [b"u"], received_ms)
    event("plain" if is_plain else "not plain")


@given(transactions(), st.booleans(), st.sampled_from([b"u"] * 8 + [b"v", b""]))
@settings(max_examples=1_000, deadline=None)
def test_so_it_is_with_transactions_that_have_odd_fields(fields: dict[str, Any], is_ascii: bool, key: bytes) -> None:
    value = json.dumps(fields, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    (is_plain,) = assert_same_as_one_by_one([value], [key], RECEIVED_MS)
    event("plain" if is_plain else "not plain")


BUFFER = b'"' + bytes(len(PADDING))


@given(NUMBERS)
@settings(max_examples=2_000, deadline=None)
def test_a_number_is_the_nearest_double_or_not_plain(text: str) -> None:
    at, value = number(np.frombuffer(text.encode() + BUFFER, np.uint8), 0)
    event("plain" if at != CLOSER else "not plain")
    if at == len(text):
        assert value.hex() == float(json.loads(text)).hex()


@given(st.integers(2**53, 10**19 - 1), st.integers(1, 22))
@settings(max_examples=2_000, deadline=None)
def test_of_long_numbers_nearly_all_are_plain_and_each_is_the_nearest_double(digits: int, power: int) -> None:
    text = f"{digits:023}"
    text = f"{text[:-power]}.{text[-power:]}".lstrip("0")
    text = text if text[0] != "." else f"0{text}"
    at, value = number(np.frombuffer(text.encode() + BUFFER, np.uint8), 0)
    if at != CLOSER:
        assert (at, value.hex()) == (len(text), float(text).hex())


def test_coordinates_as_they_are_written_are_plain_but_for_a_few() -> None:
    degrees = np.random.default_rng(7).uniform(-180, 180, 20_000)
    closer = 0
    for each in (*degrees.tolist(), *degrees.astype(np.float32).tolist()):
        at, value = number(np.frombuffer(repr(each).encode() + BUFFER, np.uint8), 0)
        closer += at == CLOSER
        assert at == CLOSER or value == each
    assert closer / 40_000 < 0.002


@given(st.binary(max_size=24) | st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=2_000, deadline=None)
@example(b"\xed\xa0\x80")
@example(b"\xf4\x90\x80\x80")
@example(b"\xe0\x9f\xbf")
@example(b"\xf0\x8f\xbf\xbf")
@example(b"1234567\xc3\xa9")
def test_a_text_is_plain_if_it_is_utf8_without_escapes_and_control_characters(data: bytes) -> None:
    end, characters = text_end(np.frombuffer(data + BUFFER, np.uint8), 0)
    before_quote = data.split(b'"')[0]
    try:
        text = before_quote.decode()
    except UnicodeDecodeError:
        text = "\\"
    if "\\" in text or any(character < " " or character == "\x7f" for character in text):
        assert end == CLOSER
    else:
        assert (end, characters) == (len(before_quote), len(text))


@pytest.mark.parametrize("name", ["é", "Kraków", "日本", "😀", "x" * 200, "a/b", "\u2028", "\x80"])
def test_names_in_any_language_are_plain(name: str) -> None:
    value = json.dumps({**BASE, "user_id": name[:9], "merchant": name, "device_id": name}, ensure_ascii=False).encode()
    assert assert_same_as_one_by_one([value], [name[:9].encode()], RECEIVED_MS) == [True]


PLAIN = [
    # as the data sets beside the checkout are sent
    b'{"transaction_id":"1b6c6773e35118af","user_id":"4165726932367436114","amount":127.02,"merchant":"Auer-Mosciski",'
    b'"timestamp":"2012-01-01T00:01:13Z","category":"grocery_pos","location":"Bearsville, NY",'
    b'"latitude":42.39780044555664,"longitude":-73.83439636230469}',
    b'{"transaction_id":"75590879d4ec3677","user_id":"571625117130","amount":5.25,"merchant":"Volkman-Predovic",'
    b'"timestamp":"2012-01-01T00:02:14Z","category":"shopping_net","location":"Schulenburg, TX",'
    b'"latitude":30.31170082092285,"longitude":-96.19010162353516}',
    # as other producers write: with blanks, in another order, with other times, with fields that nobody reads
    b'{"user_id": "u", "transaction_id": "t", "merchant": "m", "amount": 3, "timestamp": 1763807400}\n',
    b' { "transaction_id" : "t" , "user_id" : "u" , "amount" : 3e2 , "merchant" : "m" , "timestamp" : 1763807400123 } ',
    b'{"transaction_id":"t","user_id":"u","amount":3.0,"merchant":"m","timestamp":1763807400.25,"currency":"EUR"}',
    b'{"transaction_id":"t","user_id":"u","amount":0,"merchant":"m","timestamp":"2025-11-22t10:30:00.123456+05:30"}',
    b'{"transaction_id":"t","user_id":"u","amount":0.1,"merchant":"m","timestamp":"2028-02-29T10:30:00.123456789-00:30"}',
    b'{"transaction_id":"t","user_id":"u","amount":42949672.95,"merchant":"m","device_id":null,"latitude":null}',
    b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m","note":"n","card":"x","n":-1.5,"is_test":false,'
    b'"is_new":true,"other":null}',
]


DATES = ["2026-11-22", "2000-01-01", "2028-02-29", "2027-02-29", "2028-02-30", "2025-04-31", "2025-12-31", "2025-03-01"]
DATES += [
    "2025-00-10",
    "2025-13-10",
    "2025-01-00",
    "2025-01-32",
    "1999-12-31",
    "2029-12-31",
    "2095-01-01",
    "2100-01-01",
]
DATES += ["2025/01/01", "2025-1-01", "20 5-01-01"]
CLOCKS = [
    "T10:30:00",
    "t00:00:00",
    "T23:59:59",
    "T23:59:60",
    "T24:00:00",
    "T23:60:00",
    " 10:30:00",
    "T10-30:00",
    "T1:30:00",
]
CLOCKS += [
    "T10:30:00.",
    "T10:30:00.5",
    "T23:59:59.999999",
    "T23:59:59.9999994",
    "T23:59:59.9999995",
    "T10:30:00,5",
    "T10:30",
]
ZONES = ["Z", "z", "", "+00:00", "-00:00", "+05:30", "-23:59", "+24:00", "+01:60", "+0100", "+01", "Z ", "UTC"]


@pytest.mark.parametrize("received_ms", [RECEIVED_MS, 3_999_000_000_000, LAST_S * 1000])
def test_times_at_every_edge_are_read_as_they_are_or_not_plain(received_ms: int) -> None:
    values = [
        json.dumps({**BASE, "timestamp": f"{date}{clock}{zone}"}).encode()
        for date in DATES
        for clock in CLOCKS
        for zone in ZONES
    ]
    found = assert_same_as_one_by_one(values, [b"u"] * len(values), received_ms)
    assert sum(found) > 100


def user_of(value: bytes) -> bytes:
    return str(json.loads(value)["user_id"]).encode()


def test_all_that_is_plain_takes_the_fast_way() -> None:
    assert assert_same_as_one_by_one(PLAIN, list(map(user_of, PLAIN)), RECEIVED_MS) == [True] * len(PLAIN)


def test_a_row_takes_nothing_from_the_one_before() -> None:
    full, short = PLAIN[0], b'{"transaction_id":"t","user_id":"u","amount":1,"merchant":"m"}'
    values = [full, short, full, b"{", short, short[:-1], full]
    found = assert_same_as_one_by_one(values, [user_of(full), b"u", user_of(full), b"u", b"u", b"u", b"u"], RECEIVED_MS)
    assert found == [True, True, True, False, True, False, False]


def test_a_hash_of_zero_is_one_because_zero_means_that_there_is_none() -> None:
    name = next(text for text in map(str, count()) if xxh3_64_intdigest(text.encode()) >> 48 == 0)
    value = json.dumps({**BASE, "category": name, "location": name}).encode()
    assert assert_same_as_one_by_one([value], [b"u"], RECEIVED_MS) == [True]


def test_more_unknown_fields_than_there_is_room_for_are_not_plain() -> None:
    for notes, expected in ((16, True), (17, False)):
        fields = {**BASE, **{f"note{at}": at for at in range(notes)}}
        assert assert_same_as_one_by_one([json.dumps(fields).encode()], [b"u"], RECEIVED_MS) == [expected]


def test_a_time_a_day_after_the_brokers_is_the_last_that_is_plain() -> None:
    for second, expected in ((NOW_S + 86_400, True), (NOW_S + 86_401, False), (math.pi * 1e9, False)):
        value = json.dumps({**BASE, "timestamp": second}).encode()
        assert assert_same_as_one_by_one([value], [b"u"], RECEIVED_MS) == [expected]
