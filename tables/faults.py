"""What can be wrong with a partition's database, told by RocksDB's own words, and what is done about damage.

Damage is healed: the changelog is the truth, so a database that lost or garbled something is moved aside and restored.
Whatever a restore would not mend (a full disk, missing rights, another process) is not damage, even where RocksDB
calls it corruption because of it.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from fraudstream.errors import StoreError

MARK = "DAMAGED"
"""A file of this name in a database: not to be opened again. RocksDB itself checks a block only when it is read."""

ASIDE = ".damaged-"
KEPT_ASIDE = 1
"""Damaged databases kept for a look, of each partition; each takes as much disk as the one that replaces it."""


class Fault(Enum):
    """Kinds of faults, by what helps."""

    DAMAGED = "damaged"
    FULL = "full"
    LOCKED = "locked"
    DENIED = "denied"
    OTHER = "other"


_WORDS = (
    (Fault.FULL, ("no space left on device", "disk quota exceeded", "space limit")),
    (Fault.LOCKED, ("lock hold by", "while lock file")),
    (Fault.DENIED, ("permission denied", "operation not permitted", "read-only file system")),
    (Fault.OTHER, ("too many open files", "cannot allocate memory", "input/output error")),
    (Fault.DAMAGED, ("corruption:", "no such file or directory")),
)
"""In this order: a table that may not be read is told as `Corruption: ... Permission denied`."""

_WHAT_TO_DO = {
    Fault.FULL: "the disk under DATA_DIR is full: free some space or give it more, then start the worker again",
    Fault.LOCKED: "another process has it open: give each worker a DATA_DIR of its own, or end that process",
    Fault.DENIED: "this process may not write there: give its user the rights to DATA_DIR, or name another one",
    Fault.OTHER: "mend what it says, or move this folder away: an empty DATA_DIR is restored from the changelog",
    Fault.DAMAGED: "the next start moves this folder aside and restores its profiles from the changelog",
}


def kind_of(error: BaseException) -> Fault:
    """Which kind of fault RocksDB's error tells of; rocksdict gives plain exceptions, so only their words say it."""
    text = str(error).lower()
    return next((kind for kind, words in _WORDS if any(word in text for word in words)), Fault.OTHER)


def fault(path: Path, error: BaseException) -> StoreError:
    """The error of ours that says what happened and what to do."""
    said = " ".join(str(error).split())
    return StoreError(f"profiles in {path} cannot be used, RocksDB says: {said}; {_WHAT_TO_DO[kind_of(error)]}")


def mark_damaged(path: Path, error: BaseException) -> None:
    """Leaves a word for the next start, in the database itself; where even that fails, the damage is met again."""
    try:
        (path / MARK).write_text(f"{' '.join(str(error).split())}\n", encoding="utf-8")
    except OSError:
        return


def mark_of(path: Path) -> str | None:
    """What an earlier process found wrong with this database, None if nothing."""
    try:
        return (path / MARK).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def set_aside(path: Path) -> Path:
    """Moves a damaged database out of the way, and removes older ones of the same partition.

    Returns:
        Where it is now.

    Raises:
        OSError: it cannot be moved.
    """
    earlier = sorted(path.parent.glob(f"{path.stem}{ASIDE}*"))
    aside = path.with_name(f"{path.stem}{ASIDE}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    path.rename(aside)
    for old in earlier[: len(earlier) + 1 - KEPT_ASIDE]:
        shutil.rmtree(old, ignore_errors=True)
    return aside
