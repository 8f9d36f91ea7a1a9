"""The proof that a replaced worker writes nothing more sees a log in which one did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.epochs import _BEFORE_LENGTH, _HEAD, _TRANSACTIONAL, Batch, breaches, takeovers

BODY = b"records"
TOPIC = "verdicts"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / f"{TOPIC}-0").mkdir()
    return tmp_path


def write(data: Path, *batches: Batch) -> None:
    """A segment as a broker writes it, with the space behind it that a broker reserves."""
    length = _HEAD.size - _BEFORE_LENGTH + len(BODY)
    written = b"".join(
        _HEAD.pack(
            each.offset, length, 0, 2, 0, _TRANSACTIONAL * each.is_transactional, 0, 0, 0, each.producer, each.epoch
        )
        + BODY
        for each in batches
    )
    (data / f"{TOPIC}-0" / "00000000000000000000.log").write_bytes(written + b"\0" * 200)


def test_a_new_writer_of_a_higher_epoch_is_in_order(data: Path) -> None:
    write(data, Batch(0, 7, 1, True), Batch(5, 7, 1, True), Batch(9, 7, 2, True))
    assert breaches(data, (TOPIC,)) == []
    assert takeovers(data, TOPIC) == 1


def test_a_batch_of_a_replaced_writer_is_found(data: Path) -> None:
    write(data, Batch(0, 7, 1, True), Batch(5, 7, 2, True), Batch(9, 7, 1, True))
    assert breaches(data, (TOPIC,)) == ["verdicts-0: the batch at 9 is of epoch 1 of producer 7, behind one of epoch 2"]


def test_a_batch_outside_a_transaction_is_found(data: Path) -> None:
    write(data, Batch(0, 7, 1, True), Batch(5, -1, -1, False))
    assert breaches(data, (TOPIC,)) == ["verdicts-0: the batch at 5 belongs to no transaction"]


def test_other_topics_are_not_looked_at(data: Path) -> None:
    write(data, Batch(0, -1, -1, False))
    assert breaches(data, ("alerts",)) == []
