"""Scenarios in which workers die, stall, stop and move."""

from __future__ import annotations

import asyncio

from tests.chaos.bed import Bed
from tests.chaos.scenario import Scenario

SESSION_TIMEOUT_S = 6.0  # the shortest that Kafka takes by default
AFTER_KILL_S = SESSION_TIMEOUT_S + 3.0
AFTER_STOP_S = 3.0
STEADY_S = 3.0


async def _kills(bed: Bed, kills: int, wipe_share: float) -> None:
    for _ in range(kills):
        await asyncio.sleep(bed.chance.uniform(1.0, 7.0))
        victim = bed.chance.choice(bed.running())
        bed.kill(victim)
        if bed.chance.random() < wipe_share:
            bed.wipe(victim)
        await asyncio.sleep(bed.chance.uniform(0.0, 2.0))
        bed.start(victim)


def kills(count: int, workers: int, wipe_share: float = 0.5) -> Scenario:
    """kill -9 at random moments, some with their disk."""
    return Scenario(
        f"{count} kills of {workers} workers",
        lambda bed: _kills(bed, count, wipe_share),
        workers=workers,
        about=f"kill -9 at random moments, the disk wiped at {wipe_share:.0%} of them, back within 2 s",
    )


async def _one_of_three(bed: Bed) -> None:
    victim = bed.chance.choice(bed.running())
    bed.kill(victim)
    await asyncio.sleep(AFTER_KILL_S + STEADY_S)


async def _stops_of_three(bed: Bed) -> None:
    for _ in range(2):
        await bed.stop(bed.chance.choice(bed.running()))
        await asyncio.sleep(AFTER_STOP_S + STEADY_S)


async def _zombies(bed: Bed, zombies: int) -> None:
    for _ in range(zombies):
        zombie = bed.chance.choice(bed.running())
        await bed.stall(zombie, SESSION_TIMEOUT_S + bed.chance.uniform(3.0, 6.0))
        await asyncio.sleep(bed.chance.uniform(3.0, 6.0))
        await bed.until_shared()


def zombies(count: int) -> Scenario:
    """Workers that wake up when others have taken over."""
    return Scenario(
        f"{count} zombies",
        lambda bed: _zombies(bed, count),
        workers=2,
        may_end=True,
        about="SIGSTOP for longer than the session time-out, then SIGCONT; what wakes up must change nothing",
    )


async def _storm(bed: Bed, kills: int, zombies: int) -> None:
    faults = ["kill"] * kills + ["zombie"] * zombies
    bed.chance.shuffle(faults)
    stalled: list[asyncio.Task[None]] = []
    for fault in faults:
        await asyncio.sleep(bed.chance.uniform(2.0, 6.0))
        victim = bed.chance.choice(bed.running())
        if fault == "zombie":
            seconds = SESSION_TIMEOUT_S + bed.chance.uniform(1.0, 5.0)
            stalled.append(asyncio.create_task(bed.stall(victim, seconds)))
            continue
        bed.kill(victim)
        if bed.chance.random() < 0.5:
            bed.wipe(victim)
        bed.start(victim)
    for each in stalled:
        await each


def storm(kills: int, zombies: int, workers: int) -> Scenario:
    """Both at once."""
    return Scenario(
        f"storm: {kills} kills, {zombies} zombies",
        lambda bed: _storm(bed, kills, zombies),
        workers=workers,
        may_end=True,
        about="kill -9, wiped disks and stalls past the session time-out, in any order and at the same time",
    )


async def _scale(bed: Bed) -> None:
    for _ in range(2):
        bed.add_worker()
    await bed.until_shared()
    await asyncio.sleep(STEADY_S)
    for worker in bed.running()[:2]:
        await bed.stop(worker)
        await asyncio.sleep(STEADY_S)
    await bed.until_shared()


async def _timed_out(bed: Bed) -> None:
    await bed.stall(bed.running()[0], 45.0)
    await asyncio.sleep(STEADY_S)


ONE_OF_THREE = Scenario(
    "one of three killed",
    _one_of_three,
    workers=3,
    silence_s=AFTER_KILL_S,
    about="kill -9 with two others up: its partitions are judged again within the session time-out and 3 s",
)
STOPS_OF_THREE = Scenario(
    "three, two, one by clean stops",
    _stops_of_three,
    workers=3,
    silence_s=AFTER_STOP_S,
    about="SIGTERM with others up: its partitions are judged again within 3 s",
)
SCALE = Scenario(
    "scaled from 1 to 3 to 1", _scale, workers=1, about="two workers join, then two leave, the first one among them"
)
TIMED_OUT = Scenario(
    "transaction timed out",
    _timed_out,
    workers=1,
    may_end=True,
    settings={"kafka_session_timeout_s": 60.0},
    about="SIGSTOP for longer than a transaction may last, and shorter than the session: the broker aborts it",
)
