"""What each reader promises of any bytes: a value, or an error of its own kind; everything else is a fault."""

from __future__ import annotations

import functools
import hashlib
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fraudstream.api_keys import KeyEntry, parse, read
from fraudstream.dead_letter import NOWHERE, REASONS, kept_letter
from fraudstream.detector import load_detector
from fraudstream.errors import FraudstreamError, ModelError, ProfileError, RefusedInput, SettingsError
from fraudstream.intake import decode
from fraudstream.label import decode_label
from fraudstream.pipeline import Detector, process
from fraudstream.score.artifact import (
    DEFAULT_MODEL,
    MANIFEST_FILE,
    TENSOR_FILE,
    Manifest,
    load,
    load_reference,
    read_manifest,
)
from fraudstream.settings import Settings
from fraudstream.state.profile import EMPTY, source_offset, upgrade, view, without_offset
from fraudstream.transaction import decode_transaction, encode_transaction
from fraudstream.wire.records import BatchReader, FetchedBatch
from tests.checker import Sent, assert_states_equal, state_of_record, states_by_oracle
from tests.plain_rows import assert_same_as_one_by_one

NOW_S = 1_764_400_000.0
LATENESS_S = 3600
MOST_RECORDS = 256
GOOD = b'{"transaction_id": "t", "user_id": "u", "amount": 1, "merchant": "m"}'
SEPARATOR = b"\x00\xff\x00"
"""Between the parts of an input that has several."""


@dataclass(frozen=True, slots=True)
class Source:
    """A record of random bytes, as a client hands it over."""

    key: bytes | None
    value: bytes | None
    topic: str = "t"
    partition: int = 0
    offset: int = 7
    timestamp: int = int(NOW_S * 1000)


def transaction(data: bytes) -> None:
    """A transaction that is read says the same when it is written and read again, and to the kernel."""
    assert_same_as_one_by_one([data, GOOD, data], [_user_in(data), b"u", b"u"], int(NOW_S * 1000))
    try:
        found = decode_transaction(data)
        found.time_s(NOW_S)
    except RefusedInput as refused:
        _has_a_reason(refused)
        return
    assert decode_transaction(encode_transaction(found)) == found


def label(data: bytes) -> None:
    """A label is read, or refused with a reason."""
    key, _, value = data.partition(SEPARATOR)
    try:
        decode_label(key, value)
    except RefusedInput as refused:
        _has_a_reason(refused)


def record(data: bytes) -> None:
    """A record gets a verdict and the oracle's state, or becomes a dead letter byte for byte and changes nothing."""
    key, _, value = data.partition(SEPARATOR)
    source = Source(key, value)
    outcome = process(_detector(), [source], lambda _partition, _key: EMPTY)
    assert len(outcome.verdicts) + len(outcome.dead_letters) == 1
    for letter in outcome.dead_letters:
        assert (letter.key, letter.value, letter.offset) == (key, value, source.offset)
        assert letter.reason in REASONS
        assert outcome.profiles == {}
    for _ in outcome.verdicts:
        sent = Sent(source.partition, source.offset, source.timestamp, key, value)
        found = {user: state_of_record(profile) for (_, user), profile in outcome.profiles.items()}
        assert_states_equal(found, states_by_oracle([sent], LATENESS_S))


def batch(data: bytes) -> None:
    """A fetched batch is read as the client reads it, or told to be broken; the first byte says how many records."""
    count, records = data[:1], data[1:]
    fetched = FetchedBatch("t", 0, 7, 7, records, int.from_bytes(count), 7, 7, is_append_time=True, least_offset=0)
    try:
        found = BatchReader([fetched]).read(MOST_RECORDS)
    except FraudstreamError:
        return
    assert sum(len(one.key or b"") + len(one.value or b"") for one in found) <= len(records)
    decoded, letters = decode(found)
    assert len(decoded.records) + len(letters) == len(found)


def profile(data: bytes) -> None:
    """A stored profile is read whole, or is told to be damaged."""
    source_offset(data)
    try:
        upgrade(data)
    except ProfileError:
        return
    found = view(data)
    assert found is not None
    assert len(found.times_s) == len(found.amounts) == len(found.events)
    again = view(without_offset(data))
    assert again is not None
    assert again.source_offset == -1


def stored_profile(data: bytes) -> None:
    """A transaction of a user whose stored profile is any bytes gets one answer; a damaged one stays as it is."""
    outcome = process(_detector(), [Source(b"u", GOOD)], lambda _partition, _key: data)
    assert len(outcome.verdicts) + len(outcome.dead_letters) == 1
    try:
        is_readable = upgrade(data) is not None if data else True
    except ProfileError:
        is_readable = False
    if not is_readable:
        assert [letter.reason for letter in outcome.dead_letters] == ["profile_unreadable"]
        assert outcome.profiles == {}


def manifest(data: bytes) -> None:
    """A model's manifest is read, or the model is refused."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / MANIFEST_FILE).write_bytes(data)
        try:
            read_manifest(Path(name))
        except ModelError:
            return


def tensors(data: bytes) -> None:
    """A model file of any bytes is refused, also where the manifest vouches for it."""
    vouched = msgspec.structs.replace(_default_manifest(), files={TENSOR_FILE: hashlib.sha256(data).hexdigest()})
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / MANIFEST_FILE).write_bytes(msgspec.json.encode(vouched))
        (directory / TENSOR_FILE).write_bytes(data)
        for read_model in (load, load_reference):
            try:
                read_model(directory)
            except ModelError:
                continue


def letter_headers(data: bytes) -> None:
    """A record of the dead-letter topic is read, whoever wrote it."""
    parts = data.split(SEPARATOR)
    names = ("source_topic", "source_partition", "source_offset", "reason", "detail", "cut_from_bytes")
    headers = [(names[at % len(names)], part or None) for at, part in enumerate(parts)]
    found = kept_letter("dead-letters/0@0", 0, None, data, headers)
    assert found.letter.partition >= NOWHERE
    assert found.letter.offset >= NOWHERE
    assert found.cut_from_bytes is None or found.cut_from_bytes >= 0
    assert found.origin


def api_keys(data: bytes) -> None:
    """A file of hashed keys is read, or refused; what is read can be written."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            entries = read(Path(file.name))
        except SettingsError:
            return
    kept = tuple(KeyEntry(one.name, one.digest, one.rate_per_s) for one in entries)
    again = parse("\n".join(one.line() for one in kept), "again")
    assert [one.digest for one in again] == [one.digest for one in kept]


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        transaction,
        label,
        record,
        batch,
        profile,
        stored_profile,
        manifest,
        tensors,
        letter_headers,
        api_keys,
    )
}


def _user_in(data: bytes) -> bytes:
    """The key that such a message should have."""
    found = re.search(rb'"user_id"\s*:\s*"([^"]*)"', data)
    return found[1] if found else b""


def _has_a_reason(refused: RefusedInput) -> None:
    assert refused.reason in REASONS
    assert 0 < len(refused.detail) < 1000, "a reason must not carry the message"


@functools.cache
def _detector() -> Detector:
    return load_detector(Settings.model_construct())


@functools.cache
def _default_manifest() -> Manifest:
    return read_manifest(DEFAULT_MODEL)
