"""A database of profiles that is really damaged is moved aside or marked; what is not damage is told and left alone."""

from __future__ import annotations

import logging
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import faust
import pytest

from fraudstream.errors import StoreError
from fraudstream.tables.profiles import profile_table
from fraudstream.tables.store import ProfileStore

RECORDS, PER_TABLE, BYTES = 9_000, 3_000, 400  # fewer tables than RocksDB would merge
CHANGELOG_OFFSET = 41
IN_THE_MIDDLE = b"u%06d" % (PER_TABLE // 2)
TP = faust.types.TP("t-profiles-changelog", 0)


def open_store(directory: Path) -> ProfileStore:
    app = faust.App("t", datadir=str(directory), store="rocksdb://", env={})
    return profile_table(app, 1).store


def database(directory: Path) -> Path:
    return directory / "v1" / "tables" / "profiles-0.db"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of several tables, closed in order."""
    directory = tmp_path_factory.mktemp("healthy")
    store, values = open_store(directory), random.Random(0)
    for at in range(0, RECORDS, PER_TABLE):
        items = [(b"u%06d" % number, values.randbytes(BYTES)) for number in range(at, at + PER_TABLE)]
        store.write(0, items, CHANGELOG_OFFSET)
        store._db_for_partition(0).flush()
    store._dbs.pop(0).close()
    return directory


@pytest.fixture
def directory(healthy: Path, tmp_path: Path) -> Iterator[Path]:
    copy = tmp_path / "data"
    shutil.copytree(healthy, copy)
    yield copy
    shutil.rmtree(copy, ignore_errors=True)


def first_table(path: Path) -> Path:
    return min(path.glob("*.sst"))


def read_first_table(store: ProfileStore) -> None:
    for number in range(PER_TABLE):
        store.read(0, b"u%06d" % number)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + 16] = bytes(byte ^ 0xFF for byte in content[at : at + 16])
    path.write_bytes(content)


def flip_first_block(path: Path) -> None:
    """The first block of the last table has the newest offset."""
    flip(max(path.glob("*.sst")), 10)


def flip_middle(path: Path) -> None:
    flip(first_table(path), first_table(path).stat().st_size // 2 - 8)


def flip_footer(path: Path) -> None:
    table = first_table(path)
    flip(table, table.stat().st_size - 20)


def truncate_table(path: Path) -> None:
    os.truncate(first_table(path), 1_000)


def delete_table(path: Path) -> None:
    first_table(path).unlink()


def truncate_manifest(path: Path) -> None:
    os.truncate(next(path.glob("MANIFEST-*")), 30)


def delete_manifest(path: Path) -> None:
    next(path.glob("MANIFEST-*")).unlink()


def empty_current(path: Path) -> None:
    (path / "CURRENT").write_bytes(b"")


@pytest.mark.parametrize(
    "harm",
    [flip_first_block, flip_footer, truncate_table, delete_table, truncate_manifest, delete_manifest, empty_current],
)
def test_what_is_damaged_is_moved_aside_with_one_warning(
    directory: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    harm(database(directory))
    store, told = open_store(directory), list[int]()
    store.on_set_aside = told.append
    with caplog.at_level(logging.WARNING):
        assert store.persisted_offset(TP) is None, "a restore must read the whole changelog"
    assert store.read(0, IN_THE_MIDDLE) is None
    assert told == [0]
    (aside,) = database(directory).parent.glob("profiles-0.damaged-*")
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "fraudstream.tables.store"]
    assert warning.startswith("profiles of partition 0 on this disk are damaged (")
    assert str(aside) in warning
    assert warning.endswith(", and restored from the changelog")


def test_damage_that_a_read_meets_ends_the_process_and_is_healed_at_the_next_start(directory: Path) -> None:
    flip_middle(database(directory))
    store = open_store(directory)
    assert store.persisted_offset(TP) == CHANGELOG_OFFSET, "RocksDB checks a block only when it is read"
    with pytest.raises(StoreError, match=r"checksum mismatch.*; the next start moves this folder aside and restores"):
        read_first_table(store)
    with suppress(Exception):  # it says the same again
        store._dbs.pop(0).close()
    after = open_store(directory)
    assert after.persisted_offset(TP) is None
    assert list(database(directory).parent.glob("profiles-0.damaged-*"))


def test_a_walk_over_damage_does_not_end_as_if_nothing_came_after_it(directory: Path) -> None:
    store = open_store(directory)
    assert sum(1 for _ in store.items(0)) == RECORDS
    store._dbs.pop(0).close()
    flip_middle(database(directory))
    with pytest.raises(StoreError, match="checksum mismatch"):
        sum(1 for _ in open_store(directory).items(0))


def test_one_damaged_database_is_kept_of_each_partition(directory: Path) -> None:
    for _ in range(3):
        store = open_store(directory)
        store.write(0, [(b"u", b"v")], 0)
        store._dbs.pop(0).close()
        truncate_manifest(database(directory))
    assert open_store(directory).persisted_offset(TP) is None
    assert len(list(database(directory).parent.glob("profiles-0.damaged-*"))) == 1


def test_a_database_that_another_process_has_open_is_left_alone(directory: Path) -> None:
    store = open_store(directory)
    store.read(0, IN_THE_MIDDLE)
    script = (
        "from pathlib import Path; from tests.unit.test_damaged_store import TP, open_store; "
        f"open_store(Path({str(directory)!r})).persisted_offset(TP)"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "StoreError" in other.stderr
    assert "another process has it open: give each worker a DATA_DIR of its own" in other.stderr
    assert not list(database(directory).parent.glob("*.damaged-*"))
    assert store.read(0, b"u%06d" % (RECORDS - 1)) is not None


@pytest.mark.parametrize(
    ("said", "what_to_do"),
    [
        ("IO error: No space left on device: While appending to file: 8.log", "the disk under DATA_DIR is full"),
        ("Corruption: IO error: While open a file: 9.sst: Permission denied", "rights to DATA_DIR"),
        ("Read-only file system (os error 30)", "rights to DATA_DIR"),
        ("IO error: While open a file for random read: 9.sst: Too many open files", "mend what it says"),
        ("IO error: While pread offset 0 len 9: 9.sst: Input/output error", "mend what it says"),
        ("Invalid argument: a comparator of another name", "mend what it says"),
    ],
)
def test_what_a_restore_would_not_mend_is_not_taken_for_damage(
    directory: Path, said: str, what_to_do: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise Exception(said)  # as rocksdict does

    monkeypatch.setattr("fraudstream.tables.store._open", refuse)
    with pytest.raises(StoreError, match=what_to_do):
        open_store(directory).persisted_offset(TP)
    assert database(directory).is_dir()
    assert not list(database(directory).parent.glob("*.damaged-*"))


LOADED_BATCHES = 60
LOADS_UNTIL_KILLED = f"""
import os
from pathlib import Path
from tests.unit.test_damaged_store import BYTES, open_store
store = open_store(Path(os.environ["DIRECTORY"]))
for batch in range({LOADED_BATCHES}):
    store.load(0, [(b"u%d-%d" % (batch, number), os.urandom(BYTES * 10)) for number in range(250)], batch)
if "SETTLES" in os.environ:
    store.write(0, [(b"tail", b"of the changelog")], {LOADED_BATCHES})
os._exit(9)
"""


def load_until_killed(directory: Path, **environment: str) -> ProfileStore:
    environment |= {"DIRECTORY": str(directory)}
    child = subprocess.run([sys.executable, "-c", LOADS_UNTIL_KILLED], env=os.environ | environment, check=False)
    assert child.returncode == 9
    return open_store(directory)


def test_a_kill_while_records_are_loaded_loses_a_tail_and_its_offset_together(tmp_path: Path) -> None:
    store = load_until_killed(tmp_path)
    reached = store.persisted_offset(TP)
    assert reached is not None
    assert 0 < reached < LOADED_BATCHES - 1, "something must have been on disk and something not"
    for batch in range(LOADED_BATCHES):
        held = [store.read(0, b"u%d-%d" % (batch, number)) is not None for number in range(250)]
        assert all(held) if batch <= reached else not any(held)


def test_what_was_loaded_is_on_disk_before_anything_is_written_behind_it(tmp_path: Path) -> None:
    store = load_until_killed(tmp_path, SETTLES="1")
    assert store.persisted_offset(TP) == LOADED_BATCHES
    assert store.read(0, b"u%d-0" % (LOADED_BATCHES - 1)) is not None
    assert store.read(0, b"tail") == b"of the changelog"
