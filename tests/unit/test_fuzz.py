"""Readers of what others wrote hold against any bytes: the corpus of the fuzzer again, and Hypothesis around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEPARATOR, TARGETS

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
MOST_FILES, MOST_BYTES = 60, 8192


def seeds(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def test_every_target_has_a_small_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    for target in TARGETS:
        found = seeds(target)
        assert 0 < len(found) <= MOST_FILES
        assert max(map(len, found)) <= MOST_BYTES


@pytest.mark.parametrize("target", TARGETS)
def test_everything_in_the_corpus_is_read_or_refused(target: str) -> None:
    for data in seeds(target):
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_bytes_like_those_of_the_corpus_and_any_others_are_read_or_refused(target: str) -> None:
    known = st.sampled_from(seeds(target))
    piece = st.one_of(st.binary(max_size=40), st.sampled_from([SEPARATOR, b"", b"\x00" * 8, b"\xff" * 8, b"[" * 3000]))

    @st.composite
    def changed(draw: st.DrawFn) -> bytes:
        data, new = draw(known), draw(piece)
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        return data[:start] + new + data[end:]

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(changed(), st.binary(max_size=300)))
    def hold(data: bytes) -> None:
        TARGETS[target](data)

    hold()
