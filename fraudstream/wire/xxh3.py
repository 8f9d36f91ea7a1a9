"""XXH3, 64 bits, seed 0, of up to 240 bytes that lie in an array: what xxhash computes, without an object for each.

Source: Yann Collet, xxHash, doc/xxhash_spec.md (XXH3 algorithm overview); names as there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fraudstream.compiled import Int, inlined
from fraudstream.wire.words import multiply_high, read64

MAX_BYTES = 240
"""Longer texts are hashed in another way, which this leaves to xxhash."""

_SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
        "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    np.uint8,
)
_PRIME64_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME64_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME64_3 = np.uint64(0x165667B19E3779F9)
_PRIME_MX1, _PRIME_MX2 = np.uint64(0x165667919E3779F9), np.uint64(0x9FB21C651E98DF25)


def _flip(at: int) -> np.uint64:
    """Two words of the secret, one xor the other."""
    return np.uint64(int.from_bytes(_SECRET[at : at + 8]) ^ int.from_bytes(_SECRET[at + 8 : at + 16])).byteswap()


_FLIP_0, _FLIP_3 = _flip(56), np.uint64(0x87275A9B)
_FLIP_8, _FLIP_16_LOW, _FLIP_16_HIGH = _flip(8), _flip(24), _flip(40)

_LOW_BYTES, _LOW_PAIRS = np.uint64(0x00FF_00FF_00FF_00FF), np.uint64(0x0000_FFFF_0000_FFFF)
_LOW_HALF = np.uint64(0xFFFF_FFFF)
_8, _16, _24, _28, _29 = np.uint64(8), np.uint64(16), np.uint64(24), np.uint64(28), np.uint64(29)
_32, _33, _35, _37 = np.uint64(32), np.uint64(33), np.uint64(35), np.uint64(37)
_15, _40, _49 = np.uint64(15), np.uint64(40), np.uint64(49)

_SECRET_STEP = 16
_MIDDLE_BYTES, _MIDDLE_ROUNDS, _MIDDLE_SKIP, _MIDDLE_LAST = 128, 8, 3, 119
"""Beyond 128 bytes the secret is walked through again, 3 bytes further, and the last step has a place of its own."""


@inlined
def xxh3(blob: NDArray[np.uint8], start: Int, size: Int) -> Int:
    """The hash of `size` bytes, at most `MAX_BYTES`; eight bytes must lie in the array from any of them on."""
    length = np.uint64(size)
    if size > _MIDDLE_BYTES:
        return _middle(blob, start, size)
    if size > 16:  # noqa: PLR2004  as the specification has it
        return _up_to_128(blob, start, size)
    if size > 8:  # noqa: PLR2004
        low = read64(blob, start) ^ _FLIP_16_LOW
        high = read64(blob, start + size - 8) ^ _FLIP_16_HIGH
        return _avalanche(length + _swapped(low) + high + _folded(low, high))
    if size > 3:  # noqa: PLR2004
        first = read64(blob, start) & _LOW_HALF
        last = read64(blob, start + size - 4) & _LOW_HALF
        return _rrmxmx((last + (first << _32)) ^ _FLIP_8, length)
    if size > 0:
        first, middle = np.uint64(blob[start]), np.uint64(blob[start + (size >> 1)])
        last = np.uint64(blob[start + size - 1])
        return _old_avalanche((first << _16 | middle << _24 | last | length << _8) ^ _FLIP_3)
    return _old_avalanche(_FLIP_0)


@inlined
def _up_to_128(blob: NDArray[np.uint8], start: Int, size: Int) -> Int:
    total = np.uint64(size) * _PRIME64_1
    for at in range((size - 1) >> 5, -1, -1):
        total += _mixed(blob, start + 16 * at, 32 * at)
        total += _mixed(blob, start + size - 16 * (at + 1), 32 * at + 16)
    return _avalanche(total)


@inlined
def _middle(blob: NDArray[np.uint8], start: Int, size: Int) -> Int:
    total = np.uint64(size) * _PRIME64_1
    for at in range(_MIDDLE_ROUNDS):
        total += _mixed(blob, start + 16 * at, _SECRET_STEP * at)
    total = _avalanche(total)
    for at in range(_MIDDLE_ROUNDS, size >> 4):
        total += _mixed(blob, start + 16 * at, _SECRET_STEP * (at - _MIDDLE_ROUNDS) + _MIDDLE_SKIP)
    return _avalanche(total + _mixed(blob, start + size - 16, _MIDDLE_LAST))


@inlined
def _mixed(blob: NDArray[np.uint8], at: Int, secret_at: Int) -> Int:
    low, high = read64(_SECRET, secret_at), read64(_SECRET, secret_at + 8)
    return _folded(read64(blob, at) ^ low, read64(blob, at + 8) ^ high)


@inlined
def _folded(one: Int, other: Int) -> Int:
    return one * other ^ multiply_high(one, other)


@inlined
def _swapped(word: Int) -> Int:
    """The word with its bytes in the other order."""
    word = (word >> _8) & _LOW_BYTES | (word & _LOW_BYTES) << _8
    word = (word >> _16) & _LOW_PAIRS | (word & _LOW_PAIRS) << _16
    return word >> _32 | word << _32


@inlined
def _avalanche(word: Int) -> Int:
    word = (word ^ word >> _37) * _PRIME_MX1
    return word ^ word >> _32


@inlined
def _old_avalanche(word: Int) -> Int:
    """That of XXH64."""
    word = (word ^ word >> _33) * _PRIME64_2
    word = (word ^ word >> _29) * _PRIME64_3
    return word ^ word >> _32


@inlined
def _rrmxmx(word: Int, length: Int) -> Int:
    word ^= (word << _49 | word >> _15) ^ (word << _24 | word >> _40)
    word *= _PRIME_MX2
    word = (word ^ (word >> _35) + length) * _PRIME_MX2
    return word ^ word >> _28
