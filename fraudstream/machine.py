"""Where measured figures come from: processor, memory, kernel and the versions that matter."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the software of a run."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    libraries: dict[str, str]


def this_machine(libraries: Iterable[str]) -> Machine:
    """Describes the machine that runs this, with the versions of these installed libraries."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries={name: version(name) for name in libraries},
    )


def _processor() -> str:
    cpus = Path("/proc/cpuinfo")
    for line in cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
