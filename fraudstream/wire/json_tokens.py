"""The plain tokens of JSON, read by kernels out of a buffer: texts without escapes, numbers that are exact, blanks.

Every reader takes the place of a token's first byte and gives the place behind its last, or `CLOSER` where the token is
not plain or no token at all: then somebody has to look who can say what is wrong. No reader looks for the buffer's end.
A zero byte, which no token holds, must stand behind what is read, and eight bytes more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.wire.words import WORD_BYTES, leading_zeros, multiply_high, read64, trailing_zeros

CLOSER = -1

Blob = NDArray[np.uint8]

QUOTE, BACKSLASH, DELETE = ord('"'), ord("\\"), 0x7F
ZERO, NINE, MINUS, PLUS, POINT = (ord(character) for character in "09-+.")
_SMALL_E, _LARGE_E = ord("e"), ord("E")
_SPACE, _TAB, _LINE_FEED, _CARRIAGE_RETURN = (ord(character) for character in " \t\n\r")

_EACH = 0x0101_0101_0101_0101
_ONES, _HIGH_BITS, _SPACES = np.uint64(_EACH), np.uint64(0x80 * _EACH), np.uint64(0x20 * _EACH)
_QUOTES, _BACKSLASHES, _DELETES = np.uint64(QUOTE * _EACH), np.uint64(BACKSLASH * _EACH), np.uint64(DELETE * _EACH)

_NOT_ASCII = 0x80
_TAIL, _TAIL_MASK, _TAIL_END = 0x80, 0xC0, 0xBF
_TWO, _THREE, _FOUR, _TOO_LARGE = 0xC2, 0xE0, 0xF0, 0xF5
_SURROGATES, _LAST_FOUR = 0xED, 0xF4

_TEN = np.uint64(10)
_ZEROS, _BEYOND_NINE = np.uint64(ZERO * _EACH), np.uint64(0x76 * _EACH)
_BYTE_BITS, _TWO_BYTE_BITS, _WORD_HALF = np.uint64(8), np.uint64(16), np.uint64(32)
_PAIRS = np.uint64(0x0000_00FF_0000_00FF)
_UPPER_PAIRS, _LOWER_PAIRS = np.uint64(100 | 1_000_000 << 32), np.uint64(1 | 10_000 << 32)
"""What two of the four pairs of digits count for, moved up into the word's upper half, where they are added up."""
_WHOLE_POWERS = 10 ** np.arange(WORD_BYTES + 1, dtype=np.uint64)
_MOST_DIGITS = 19
"""A word holds any number of so many digits."""
_MOST_EXPONENT_DIGITS = 4
_EXACT_INTEGERS = np.uint64(2**53)
_POWERS = 10.0 ** np.arange(23)
"""The powers of ten that are doubles."""
_MOST_POWER = len(_POWERS) - 1


def _inverse_powers() -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """10^-e as an integer of 64 bits, rounded down, times a power of two; and the power's exponent."""
    shifts = [63 + (10**power - 1).bit_length() for power in range(_MOST_POWER + 1)]
    return (
        np.array([(1 << shift) // 10**power for power, shift in enumerate(shifts)], np.uint64),
        np.array([-shift for shift in shifts], np.int64),
    )


_INVERSES, _INVERSE_EXPONENTS = _inverse_powers()
_TOP_BIT, _ONE = np.uint64(2**63), np.uint64(1)
_DROPPED_BITS = 10
"""What is left of a product's upper 63 bits beyond the 53 of a double."""


@inlined
def after_blanks(blob: Blob, at: Int) -> Int:
    """The first byte from here on that is no white space."""
    while blob[at] == _SPACE or blob[at] == _LINE_FEED or blob[at] == _TAB or blob[at] == _CARRIAGE_RETURN:
        at += 1
    return at


@inlined
def text_end(blob: Blob, at: Int) -> tuple[Int, Int]:
    """The closing quote of a text that begins here, behind its opening one, and how many characters lie between.

    A text is plain if it is UTF-8 and has no escape and no control character.
    """
    start, tails = at, 0
    while True:
        odd = _odd_bytes(read64(blob, at))
        if odd == np.uint64(0):
            at += WORD_BYTES
            continue
        at += trailing_zeros(odd) >> 3
        byte = blob[at]
        if byte == QUOTE:
            return at, at - start - tails
        size = _utf8_size(blob, at) if byte >= _NOT_ASCII else 0
        if size == 0:
            return CLOSER, 0
        tails += size - 1
        at += size


@inlined
def _odd_bytes(word: Int) -> Int:
    """The top bit of each byte that ends plain ASCII is set; above the lowest of them others may be, too."""
    found = (word - _SPACES) & ~word | word
    quotes, backslashes, deletes = word ^ _QUOTES, word ^ _BACKSLASHES, word ^ _DELETES
    found |= (quotes - _ONES) & ~quotes | (backslashes - _ONES) & ~backslashes | (deletes - _ONES) & ~deletes
    return found & _HIGH_BITS


@inlined
def _utf8_size(blob: Blob, at: Int) -> Int:
    """Bytes of the character that is not ASCII and begins here, 0 if it is none (Unicode 15, table 3-7)."""
    first, second = blob[at], blob[at + 1]
    if first < _TWO or first >= _TOO_LARGE or second & _TAIL_MASK != _TAIL:
        return 0
    if first < _THREE:
        return 2
    if blob[at + 2] & _TAIL_MASK != _TAIL:
        return 0
    if first < _FOUR:
        is_overlong, is_surrogate = first == _THREE and second < 0xA0, first == _SURROGATES and second >= 0xA0  # noqa: PLR2004
        return 0 if is_overlong or is_surrogate else 3
    is_overlong, is_beyond = first == _FOUR and second < 0x90, first == _LAST_FOUR and second >= 0x90  # noqa: PLR2004
    return 0 if is_overlong or is_beyond or blob[at + 3] & _TAIL_MASK != _TAIL else 4


@inlined
def number(blob: Blob, at: Int) -> tuple[Int, float]:
    """A number, and the place behind it; plain is one whose nearest double is certain."""
    is_negative = blob[at] == MINUS
    if is_negative:
        at += 1
    start = at
    at, digits = _digits(blob, at, np.uint64(0))
    count = at - start
    if count == 0 or (count > 1 and blob[start] == ZERO):
        return CLOSER, 0.0
    power = 0
    if blob[at] == POINT:
        point = at
        at, digits = _digits(blob, at + 1, digits)
        power = point + 1 - at
        count -= power
        if power == 0:
            return CLOSER, 0.0
    if count > _MOST_DIGITS or (is_negative and digits == np.uint64(0)):
        return CLOSER, 0.0
    if blob[at] == _SMALL_E or blob[at] == _LARGE_E:
        at, exponent = _exponent(blob, at + 1)
        if at == CLOSER:
            return CLOSER, 0.0
        power += exponent
    is_certain, value = _scaled(digits, power)
    return (at if is_certain else CLOSER), (-value if is_negative else value)


@inlined
def _digits(blob: Blob, at: Int, before: Int) -> tuple[Int, Int]:
    """Digits, put behind others; more than `_MOST_DIGITS` run over.

    Source: D. Lemire, Number Parsing at a Gigabyte per Second (2021), for eight at once.
    """
    while True:
        digits = read64(blob, at) ^ _ZEROS
        others = (digits + _BEYOND_NINE | digits) & _HIGH_BITS  # exact up to the lowest byte that is none
        count = trailing_zeros(others) >> 3
        if count == 0:
            return at, before
        digits <<= np.uint64(8 * (WORD_BYTES - count))
        digits = digits * _TEN + (digits >> _BYTE_BITS)
        digits = (digits & _PAIRS) * _UPPER_PAIRS + (digits >> _TWO_BYTE_BITS & _PAIRS) * _LOWER_PAIRS
        before = before * _WHOLE_POWERS[count] + (digits >> _WORD_HALF)
        at += count
        if count < WORD_BYTES:
            return at, before


@inlined
def _exponent(blob: Blob, at: Int) -> tuple[Int, Int]:
    is_negative = blob[at] == MINUS
    if is_negative or blob[at] == PLUS:
        at += 1
    start = at
    at, digits = _digits(blob, at, np.uint64(0))
    if not 0 < at - start <= _MOST_EXPONENT_DIGITS:
        return CLOSER, 0
    exponent = np.int64(digits)
    return at, -exponent if is_negative else exponent


@inlined
def _scaled(digits: Int, power: Int) -> tuple[bool, float]:
    """The double nearest to digits * 10^power, if it is certain.

    Source: W. Clinger, How to Read Floating Point Numbers Accurately (1990), for what both factors hold exactly.
    """
    if digits <= _EXACT_INTEGERS and -_MOST_POWER <= power <= _MOST_POWER:
        whole = np.float64(digits)
        return True, float(whole * _POWERS[power] if power >= 0 else whole / _POWERS[-power])
    if -_MOST_POWER <= power < 0:
        return _divided(digits, -power)
    return False, 0.0


@inlined
def _divided(digits: Int, power: Int) -> tuple[bool, float]:
    """The same by one multiplication of integers: 10^-power is too small by less than one in its last place, so the
    product's upper half is too small by less than two.

    Source: D. Lemire, Number Parsing at a Gigabyte per Second (2021), without the second multiplication.
    """
    zeros = leading_zeros(digits)
    product = multiply_high(digits << np.uint64(zeros), _INVERSES[power])
    exponent = 64 - zeros + _INVERSE_EXPONENTS[power]
    dropped = np.uint64(_DROPPED_BITS + (1 if product & _TOP_BIT else 0))
    rest, half = product & ((_ONE << dropped) - _ONE), _ONE << (dropped - _ONE)
    kept = product >> dropped
    if rest + np.uint64(2) > half and rest <= half:
        return False, 0.0
    if rest > half:
        kept += _ONE
    return True, np.float64(kept) * 2.0 ** (exponent + np.int64(dropped))
