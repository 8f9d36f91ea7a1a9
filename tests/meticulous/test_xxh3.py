"""The kernel's hash is xxhash's, of any bytes at any place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from fraudstream.wire.words import WORD_BYTES
from fraudstream.wire.xxh3 import MAX_BYTES, xxh3


def hash_of(data: bytes, before: bytes = b"", behind: bytes = bytes(WORD_BYTES)) -> int:
    return int(xxh3(np.frombuffer(before + data + behind, np.uint8), len(before), len(data)))


@pytest.mark.parametrize("size", range(MAX_BYTES + 1))
def test_each_length_is_hashed_as_xxhash_does(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert hash_of(data) == xxh3_64_intdigest(data)


@given(st.binary(max_size=MAX_BYTES), st.binary(max_size=9), st.binary(min_size=WORD_BYTES, max_size=16))
@settings(max_examples=2_000, deadline=None)
def test_what_stands_around_a_text_does_not_matter(data: bytes, before: bytes, behind: bytes) -> None:
    assert hash_of(data, before, behind) == xxh3_64_intdigest(data)
