"""Profiles on their way from a replay to the broker, in a temporary file: millions of users need not fit in memory."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType

from fraudstream.errors import DataFileError

KeyAndRecord = tuple[bytes, bytes]

READ_RECORDS = 1_000
_LENGTHS = struct.Struct("<II")


class Spool:
    """Takes keys and records, gives them back in their order as often as asked; gone when its `with` ends."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="fraudstream-backfill-")  # noqa: SIM115  closed by __exit__
        self._count = 0
        self.size_bytes = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, items: Sequence[KeyAndRecord]) -> None:
        """Appends.

        Raises:
            DataFileError: the disk is full.
        """
        data = b"".join(_LENGTHS.pack(len(key), len(record)) + key + record for key, record in items)
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise DataFileError(
                f"{tempfile.gettempdir()}: expected room for a temporary file of profiles, got {error.strerror} after "
                f"{self.size_bytes:,} bytes; set TMPDIR to a directory on a larger disk"
            ) from None
        self.size_bytes += sum(len(record) for _, record in items)
        self._count += len(items)

    def __iter__(self) -> Iterator[list[KeyAndRecord]]:
        """Everything that was added, some at a time."""
        self._file.seek(0)
        for start in range(0, self._count, READ_RECORDS):
            yield [self._read() for _ in range(min(READ_RECORDS, self._count - start))]

    def _read(self) -> KeyAndRecord:
        key_bytes, record_bytes = _LENGTHS.unpack(self._file.read(_LENGTHS.size))
        return self._file.read(key_bytes), self._file.read(record_bytes)
