"""What the kernel tells of a process: CPU time, memory, bytes written, open files; of Linux only."""

from __future__ import annotations

import os
from pathlib import Path

from fraudstream.errors import FraudstreamError


class MeasurementError(FraudstreamError):
    """A case did not do what is measured, so there is no figure."""


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads, in steps of the kernel's clock tick (10 ms).

    Raises:
        MeasurementError: this system does not tell, or the process is gone.
    """
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waited_for_core_s(pid: int) -> float:
    """For how long the first thread of a process was ready to run and no core was free; the worker's loop is in it.

    Raises:
        MeasurementError: as for `cpu_s`.
    """
    return int(_read(pid, "schedstat").split()[1]) / 1e9


def resident_mib(pid: int) -> float:
    """Resident memory.

    Raises:
        MeasurementError: as for `cpu_s`.
    """
    return _number(pid, "status", "VmRSS:") / 1024


def peak_mib(pid: int) -> float:
    """The most memory that was ever resident.

    Raises:
        MeasurementError: as for `cpu_s`.
    """
    return _number(pid, "status", "VmHWM:") / 1024


def written_bytes(pid: int) -> int:
    """Bytes that the process had written to a disk, less what was deleted before it got there.

    Raises:
        MeasurementError: as for `cpu_s`.
    """
    return _number(pid, "io", "\nwrite_bytes:") - _number(pid, "io", "cancelled_write_bytes:")


def open_files(pid: int) -> int:
    """File descriptors.

    Raises:
        MeasurementError: as for `cpu_s`.
    """
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError as error:
        raise MeasurementError(f"expected the open files of a running process (on Linux), got {error}") from None


def _number(pid: int, file: str, name: str) -> int:
    return int(_read(pid, file).partition(name)[2].split()[0])


def _read(pid: int, file: str) -> str:
    path = Path(f"/proc/{pid}/{file}")
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise MeasurementError(f"expected the figures of a running process in {path} (on Linux), found none") from None
