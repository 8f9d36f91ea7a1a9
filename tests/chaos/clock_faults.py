"""Scenarios in which the clocks of workers are wrong (Debian's faketime)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.chaos.bed import Bed
from tests.chaos.scenario import Scenario
from tests.servers.jars import ServerUnavailableError

STEADY_S = 6.0
OFFSETS = ("+2h", "-2h", "+3d", "+0")
"""Against the broker's clock. Beyond an hour a broker refuses what says that it was written then."""


async def _fake_clocks(bed: Bed) -> None:
    library = _library()
    _set(bed, "+0")
    bed.variables = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(_file(bed)),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DISABLE_SHM": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _library() -> Path:
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if found is None:
        raise ServerUnavailableError("clocks are moved by libfaketime (Debian: faketime); found none below /usr/lib")
    return found


def _file(bed: Bed) -> Path:
    return bed.directory / "clock"


def _set(bed: Bed, offset: str) -> None:
    _file(bed).write_text(offset)


async def _jumps(bed: Bed) -> None:
    for offset in OFFSETS:
        _set(bed, offset)
        await asyncio.sleep(STEADY_S)
        victim = bed.chance.choice(bed.running())
        bed.kill(victim)
        bed.start(victim)  # it starts with this clock, too
        await bed.until_shared()


JUMPS = Scenario(
    "clocks jump",
    _jumps,
    prepare=_fake_clocks,
    slower=10.0,  # libfaketime takes a lock for each look at the clock, and threads look often
    about="wall clocks of workers jump by two hours forth and back and by three days; workers are killed meanwhile",
)
