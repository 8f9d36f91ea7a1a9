"""Verdicts of a micro-batch are a sequence of objects for who looks at them, and hold nothing of others for long."""

from __future__ import annotations

import numpy as np
import pytest

from fraudstream.detector import load_detector
from fraudstream.emitted import NO_VERDICTS, Verdicts
from fraudstream.pipeline import process
from fraudstream.settings import load_settings
from fraudstream.state.profile import EMPTY
from tests.unit.test_pipeline import Record, message


def judged(records: list[Record]) -> Verdicts:
    return process(load_detector(load_settings()), records, lambda _partition, _key: EMPTY).verdicts


def test_it_is_a_sequence() -> None:
    verdicts = judged([message(at, f"u{at}", partition=at % 2) for at in range(5)])
    all_of_them = list(verdicts)
    assert [(one.partition, one.key) for one in all_of_them] == [(at % 2, b"u%d" % at) for at in range(5)]
    assert [verdicts[at] for at in range(-5, 5)] == all_of_them * 2
    assert verdicts[1:4] == all_of_them[1:4]
    assert verdicts[::-2] == all_of_them[::-2]
    assert verdicts.some(np.array([3, 0])) == [all_of_them[3], all_of_them[0]]
    for at in (5, -6):
        with pytest.raises(IndexError, match="expected one of 5 verdicts"):
            verdicts[at]
    assert list(NO_VERDICTS) == []


def test_what_is_kept_does_not_keep_refused_messages_alive() -> None:
    refused = [Record(at, b"u", b"{" * 1000) for at in range(1, 100)]
    verdicts = judged([message(0, "u"), *refused])
    assert len(verdicts.texts.blob) > 99_000
    compact = verdicts.compact()
    assert list(compact) == list(verdicts)
    assert len(compact.texts.blob) < 1000
    whole = judged([message(at, "u") for at in range(100)])
    assert whole.compact() is whole, "nothing to be gained"
