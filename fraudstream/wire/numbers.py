"""Numbers and times as JSON has them, written by kernels: byte for byte what msgspec writes of the same values."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, compiled

Bytes = NDArray[np.uint8]

MICRO = 1_000_000
"""Shares are written with six digits."""

NUMBER_BYTES = 20
"""No whole number of 64 bits is longer."""
TIME_BYTES = 29
"""`"2026-11-30T10:15:00.123000Z"`, with its quotes."""

_SMALL = 1000
_SMALL_BYTES = 8
_ZERO, _ONE, _POINT, _MINUS, _QUOTE = (np.uint8(ord(sign)) for sign in '01.-"')
_DASH, _COLON, _T, _Z = (np.uint8(ord(sign)) for sign in "-:TZ")
_NULL = np.frombuffer(b"null", np.uint8)
_DAY_S, _MS_PER_S = 86_400, 1000
_FROM_JANUARY = 10
"""Months from March."""


def _small_shares() -> Bytes:
    """The shares below a thousandth, of which some have an exponent: their texts, each with its length before it."""
    table = np.zeros((_SMALL, 1 + _SMALL_BYTES), np.uint8)
    for micro in range(_SMALL):
        text = msgspec.json.encode(micro / MICRO)
        table[micro, 0] = len(text)
        table[micro, 1 : 1 + len(text)] = list(text)
    return table


_SMALL_SHARES = _small_shares()


@compiled
def put(out: Bytes, at: Int, source: Bytes, start: Int, end: Int) -> Int:
    """Copies source[start:end]; returns where it ends, as all of these do."""
    for place in range(end - start):
        out[np.uintp(at + place)] = source[np.uintp(start + place)]
    return at + (end - start)


@compiled
def put_whole(out: Bytes, at: Int, source: Bytes) -> Int:
    """Copies all of it."""
    return put(out, at, source, 0, len(source))


@compiled
def put_int(out: Bytes, at: Int, value: Int) -> Int:
    """A whole number from 0 to 2^63 - 1, or a negative one above -2^63."""
    if value < 0:
        out[at] = _MINUS
        at += 1
        value = -value
    digits = 1
    rest = value // 10
    while rest:
        digits += 1
        rest //= 10
    return put_digits(out, at, value, digits)


@compiled
def put_digits(out: Bytes, at: Int, value: Int, digits: Int) -> Int:
    """The last digits of a number that is not negative, so many of them."""
    for place in range(digits - 1, -1, -1):
        out[np.uintp(at + place)] = np.uint8(_ZERO + value % 10)
        value //= 10
    return at + digits


@compiled
def put_share(out: Bytes, at: Int, share: float) -> Int:
    """A number from 0 to 1 that is rounded to six digits; null for what is no number."""
    if np.isnan(share):
        return put_whole(out, at, _NULL)
    micro = np.int64(np.rint(share * MICRO))
    if micro < _SMALL:
        return put(out, at, _SMALL_SHARES[micro], 1, 1 + np.int64(_SMALL_SHARES[micro, 0]))
    out[at] = _ONE if micro == MICRO else _ZERO
    out[at + 1] = _POINT
    at = put_digits(out, at + 2, micro % MICRO, 6)
    while out[at - 1] == _ZERO and out[at - 2] != _POINT:
        at -= 1
    return at


@compiled
def put_time(out: Bytes, at: Int, ms: Int) -> Int:
    """A time in milliseconds since 1970 as an RFC 3339 string, from the year 1 to the year 9999."""
    second, rest_ms = ms // _MS_PER_S, ms % _MS_PER_S
    day, of_day = second // _DAY_S, second % _DAY_S
    year, month, of_month = civil(day)
    out[at] = _QUOTE
    at = put_digits(out, at + 1, year, 4)
    for part, sign in ((month, _DASH), (of_month, _DASH), (of_day // 3600, _T), (of_day // 60 % 60, _COLON)):
        out[at] = sign
        at = put_digits(out, at + 1, part, 2)
    out[at] = _COLON
    at = put_digits(out, at + 1, of_day % 60, 2)
    if rest_ms:
        out[at] = _POINT
        at = put_digits(out, at + 1, rest_ms * 1000, 6)
    out[at], out[at + 1] = _Z, _QUOTE
    return at + 2


@compiled
def civil(day: Int) -> tuple[Int, Int, Int]:
    """Year, month and day of month of a day since 1970-01-01, by counting in years that begin in March."""
    shifted = day + 719_468
    era, of_era = shifted // 146_097, shifted % 146_097
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * of_year + 2) // 153
    of_month = of_year - (153 * shifted_month + 2) // 5 + 1
    of_next_year = shifted_month // _FROM_JANUARY
    return year_of_era + era * 400 + of_next_year, shifted_month + 3 - 12 * of_next_year, of_month
