"""What RocksDB holds in memory follows from what it keeps, not from how often it was written."""

from __future__ import annotations

import os
from pathlib import Path

import rocksdict

from fraudstream.adapters.metric_catalogue import STORE_PARTS
from fraudstream.tables.store import MEMORY_OF, open_options

USERS = 2_500
PROFILE_BYTES = 700
FLUSHES = 24
"""Enough to merge files several times."""
OF_FILES = 0.01


def test_files_that_were_merged_leave_nothing_in_memory(tmp_path: Path) -> None:
    database = rocksdict.Rdict(str(tmp_path), open_options())
    for _ in range(FLUSHES):
        for user in range(USERS):
            database[b"user-%d" % user] = os.urandom(PROFILE_BYTES)
        database.flush()
    held = sum(database.property_int_value(MEMORY_OF[part]) or 0 for part in ("indexes", "blocks"))
    files = list(tmp_path.glob("*.sst"))
    assert len(files) < FLUSHES, "nothing was merged"
    assert held < OF_FILES * sum(file.stat().st_size for file in files)
    database.close()


def test_every_part_of_memory_has_its_meaning_and_a_property_that_rocksdb_knows(tmp_path: Path) -> None:
    assert MEMORY_OF.keys() == STORE_PARTS.keys()
    database = rocksdict.Rdict(str(tmp_path), open_options())
    for name in MEMORY_OF.values():
        assert database.property_int_value(name) is not None, name
    database.close()
