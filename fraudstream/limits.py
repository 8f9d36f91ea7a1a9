"""What the operating system lets this process use: memory, CPU; control groups of version 2 and 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
UNLIMITED_BYTES = 2**60
"""Version 1 says a number above this where it means no limit."""


def resident_bytes(process: int | None = None) -> int:
    """Memory that a process (None: this one) holds now; 0 where the system does not tell."""
    statm = Path(f"/proc/{process or 'self'}/statm")
    return int(statm.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def machine_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_limit_bytes(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> int | None:
    """The least memory limit of the control groups that this process is in, None where there is none."""
    found = [
        int(text)
        for group in _groups("memory", cgroups, own)
        for text in (_text(group / "memory.max"), _text(group / "memory.limit_in_bytes"))
        if text.isdigit() and int(text) < UNLIMITED_BYTES
    ]
    return min(found, default=None)


def cpu_limit_cores(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> float | None:
    """The least CPU limit of the control groups that this process is in, None where there is none."""
    found = []
    for group in _groups("cpu", cgroups, own):
        both = f"{_text(group / 'cpu.cfs_quota_us')} {_text(group / 'cpu.cfs_period_us')}".strip()
        quota, _, period = (_text(group / "cpu.max") or both).partition(" ")
        if quota.isdigit() and period.isdigit():
            found.append(int(quota) / int(period))
    return min(found, default=None)


def times_throttled(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> int:
    """How often a CPU limit has stopped the control groups of this process so far."""
    stats = (_text(group / "cpu.stat") for group in _groups("cpu", cgroups, own))
    return sum(int(line.split()[1]) for stat in stats for line in stat.splitlines() if line.startswith("nr_throttled"))


def _groups(controller: str, cgroups: Path, own: Path) -> Iterator[Path]:
    """The directories that say something of this process: its own first, then those around it."""
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controllers if controllers else cgroups
        group = root / path.lstrip("/")
        yield from (directory for directory in (group, *group.parents) if directory.is_relative_to(root))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
