"""Files that several processes change: one at a time, as a whole, and still there after the power is cut."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fraudstream.errors import ModelError

LOCK_TIMEOUT_S = 60.0
"""Whoever holds a lock loads and copies a model at most: longer means that it hangs."""
LOCK_POLL_S = 0.05


@contextmanager
def lock_file(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Holds an exclusive lock; the system lets go of it when its holder ends, however it ends.

    Raises:
        ModelError: another process held it all the time.
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # less the umask, as any new file
    try:
        _lock(descriptor, path, time.monotonic() + timeout_s)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, deadline_s: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise ModelError(
                    f"{path}: expected the lock of the registry, another process holds it; wait until that "
                    "`fraudstream models` command has ended, and try again"
                ) from None
        time.sleep(LOCK_POLL_S)


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file so that a reader finds the old content or the new one, and a crash leaves one of them."""
    beside = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        beside.write_bytes(data)
        sync(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Brings a file's content, or a directory's names, down to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
