"""What the kernel that reads transactions makes of messages, held to `decode_transaction`, one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fraudstream.intake import EVIDENCE_BYTES
from fraudstream.transaction import decode_transaction
from fraudstream.wire.records import Record, records_of
from fraudstream.wire.texts import KEY, SOURCE, TEXT_COLUMNS, TRANSACTION_ID, USER_ID, Texts, json_texts
from fraudstream.wire.transaction_kernel import Rows, read_rows
from tests.plain_pack import pack_one


def rows_of(values: Sequence[bytes], keys: Sequence[bytes], received_ms: int) -> tuple[Rows, Texts]:
    """What the kernel reads."""
    records = records_of(
        [Record("t", 0, at, received_ms, *one) for at, one in enumerate(zip(keys, values, strict=True))]
    )
    spans = np.zeros((len(values), TEXT_COLUMNS, 2), np.int64)
    spans[:, SOURCE], spans[:, KEY] = records.values, records.keys
    return read_rows(records.blob, spans, records.times_ms, EVIDENCE_BYTES), Texts(records.blob, spans)


def assert_same_as_one_by_one(values: Sequence[bytes], keys: Sequence[bytes], received_ms: int) -> list[bool]:
    """Whatever the kernel reads is accepted by `decode_transaction`, too, and is the same; returns what it reads."""
    rows, texts = rows_of(values, keys, received_ms)
    names, users = texts.of(TRANSACTION_ID), texts.of(USER_ID)
    for row in np.flatnonzero(rows.is_plain).tolist():
        transaction = decode_transaction(values[row])
        time_s = transaction.time_s(received_ms / 1000)
        assert keys[row] == transaction.user_id.encode()
        assert [[names[row]], [users[row]]] == [
            json_texts([transaction.transaction_id]),
            json_texts([transaction.user_id]),
        ]
        assert float(rows.amounts[row]).hex() == transaction.amount.hex()
        assert rows.event_s[row] == time_s
        assert rows.words[row].tolist() == list(pack_one(transaction, time_s))
    return [bool(plain) for plain in rows.is_plain]
