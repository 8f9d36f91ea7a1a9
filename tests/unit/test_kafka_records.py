"""Every record of a batch is read, whatever its headers are called and however it is compressed."""

from __future__ import annotations

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from fraudstream.adapters.kafka_records import Batches
from tests.odd_records import CODECS, batch_bytes, odd_batch

ROWS = [(b"u%d" % number, b"value %d " % number * 20) for number in range(7)]


@pytest.mark.parametrize("codec", CODECS)
def test_a_header_name_that_is_not_utf8_keeps_no_record_from_being_read(codec: str) -> None:
    odd, plain = batch_bytes(odd_batch(ROWS, codec)), batch_bytes(odd_batch(ROWS, codec, b"plain"))
    records = Batches(plain + odd + plain)
    found = []
    while records.has_next():
        batch = records.next_batch()
        assert batch.validate_crc()
        found.append([(record.offset, record.key, record.value, record.headers) for record in batch])
    assert [[(key, value) for _, key, value, _ in each] for each in found] == [ROWS] * 3
    assert [offset for offset, *_ in found[1]] == list(range(len(ROWS)))
    assert [headers[0][0] for *_, headers in found[1]] == ["tr\\xffce", "good"] * 3 + ["tr\\xffce"]
    assert [headers[0][0] for *_, headers in found[2]] == ["plain", "good"] * 3 + ["plain"]


def test_what_is_broken_otherwise_is_told_as_by_the_client_itself() -> None:
    raw = bytearray(batch_bytes(odd_batch(ROWS, "none", b"plain")))
    raw[-1] ^= 1  # of the last header's value: only the checksum can tell
    assert not Batches(bytes(raw)).next_batch().validate_crc()
    raw[61] ^= 2  # the length of the first record
    for reader in (MemoryRecords, Batches):
        with pytest.raises(CorruptRecordException):
            list(reader(bytes(raw)).next_batch())


def test_a_batch_that_is_cut_off_is_left_for_the_next_fetch() -> None:
    raw = batch_bytes(odd_batch(ROWS, "none"))
    records = Batches(raw + raw[:-1])
    records.next_batch()
    assert not records.has_next()
    assert records.next_batch() is None
    assert records.size_in_bytes() == 2 * len(raw) - 1
