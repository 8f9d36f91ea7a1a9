"""Times as RFC 3339 writes them, read by kernels out of a buffer."""

from __future__ import annotations

import numpy as np

from fraudstream.compiled import Int, inlined
from fraudstream.wire.json_tokens import CLOSER, MINUS, NINE, PLUS, POINT, QUOTE, ZERO, Blob

_DASH, _COLON = ord("-"), ord(":")
_LARGE_T, _SMALL_T, _LARGE_Z, _SMALL_Z = (ord(character) for character in "TtZz")

_CENTURY = 20
"""Other centuries are looked at by who can tell why they are wrong."""
_MOST_MONTH, _MOST_HOUR, _MOST_MINUTE = 12, 23, 59
_FEBRUARY, _LEAP_YEARS = 2, 4
_DAYS_BEFORE = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])
"""In a common year, by month from 1 on."""
_DAYS_UNTIL_2000, _DAYS_OF_YEAR = 10_957, 365
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3600, 60
_NOT_DIGITS = -1_000_000
"""So much less than any sum of digits that a sum with it is negative."""
_MICROSECOND_DIGITS = 6

_DATE_CHARS, _CLOCK_CHARS, _ZONE_CHARS = len("2026-11-22T"), len("10:30:00"), len("+01:00")


@inlined
def rfc3339(blob: Blob, at: Int) -> tuple[Int, Int]:
    """A text's closing quote and its time in whole seconds since 1970, rounded down; `at` is behind its opening quote.

    Plain are the years 2000 to 2099 in their own time zone, and all parts of a second that a microsecond does not
    round up to the next one.
    """
    days = _date(blob, at)
    at += _DATE_CHARS
    if days < 0:
        return CLOSER, 0
    clock = _clock(blob, at)
    if clock < 0:
        return CLOSER, 0
    at = _after_fraction(blob, at + _CLOCK_CHARS)
    if at == CLOSER:
        return CLOSER, 0
    second = days * _DAY_S + clock
    if blob[at] == _LARGE_Z or blob[at] == _SMALL_Z:
        at += 1
    else:
        offset = _offset(blob, at)
        if offset == _NOT_DIGITS:
            return CLOSER, 0
        second -= offset
        at += _ZONE_CHARS
    return (at if blob[at] == QUOTE else CLOSER), second


@inlined
def _date(blob: Blob, at: Int) -> Int:
    """Days since 1970 of a date with the T behind it, negative where it is none."""
    year, month, day = _two(blob, at + 2), _two(blob, at + 5), _two(blob, at + 8)
    if _two(blob, at) != _CENTURY or year + month + day < 0 or blob[at + 4] != _DASH or blob[at + 7] != _DASH:
        return CLOSER
    if blob[at + 10] != _LARGE_T and blob[at + 10] != _SMALL_T:
        return CLOSER
    is_leap = year % _LEAP_YEARS == 0
    if not 1 <= month <= _MOST_MONTH:
        return CLOSER
    leap_day = 1 if is_leap and month == _FEBRUARY else 0
    if not 1 <= day <= _DAYS_BEFORE[month + 1] - _DAYS_BEFORE[month] + leap_day:
        return CLOSER
    before = year * _DAYS_OF_YEAR + (year + _LEAP_YEARS - 1) // _LEAP_YEARS
    this_year = _DAYS_BEFORE[month] + (1 if is_leap and month > _FEBRUARY else 0) + day - 1
    return _DAYS_UNTIL_2000 + before + this_year


@inlined
def _clock(blob: Blob, at: Int) -> Int:
    """Seconds since midnight, negative where it is no time of day."""
    hour, minute, second = _two(blob, at), _two(blob, at + 3), _two(blob, at + 6)
    if hour > _MOST_HOUR or minute > _MOST_MINUTE or second > _MOST_MINUTE:
        return CLOSER
    if blob[at + 2] != _COLON or blob[at + 5] != _COLON:
        return CLOSER
    return hour * _HOUR_S + minute * _MINUTE_S + second


@inlined
def _after_fraction(blob: Blob, at: Int) -> Int:
    if blob[at] != POINT:
        return at
    at += 1
    start, rounds_up = at, True
    while ZERO <= blob[at] <= NINE:
        if at - start < _MICROSECOND_DIGITS and blob[at] != NINE:
            rounds_up = False
        at += 1
    if at == start or (rounds_up and at - start > _MICROSECOND_DIGITS):
        return CLOSER
    return at


@inlined
def _offset(blob: Blob, at: Int) -> Int:
    """Seconds east of Greenwich, `_NOT_DIGITS` where it is no offset."""
    hour, minute = _two(blob, at + 1), _two(blob, at + 4)
    is_west = blob[at] == MINUS
    if (not is_west and blob[at] != PLUS) or blob[at + 3] != _COLON:
        return _NOT_DIGITS
    if not 0 <= hour <= _MOST_HOUR or not 0 <= minute <= _MOST_MINUTE:
        return _NOT_DIGITS
    offset = hour * _HOUR_S + minute * _MINUTE_S
    return -offset if is_west else offset


@inlined
def _two(blob: Blob, at: Int) -> Int:
    """A number of two digits, `_NOT_DIGITS` where one is none."""
    tens, ones = np.int64(blob[at]) - ZERO, np.int64(blob[at + 1]) - ZERO
    if not 0 <= tens <= 9 or not 0 <= ones <= 9:  # noqa: PLR2004
        return _NOT_DIGITS
    return tens * 10 + ones
