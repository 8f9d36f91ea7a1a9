"""Which scenarios run, in which order: those of one size of cluster follow each other."""

from __future__ import annotations

from tests.chaos import broker_faults, clock_faults, disk_faults, line_faults, worker_faults
from tests.chaos.scenario import Scenario

SHORT: tuple[Scenario, ...] = (
    worker_faults.ONE_OF_THREE,
    worker_faults.storm(kills=4, zombies=1, workers=2),
)
"""What CI runs; tests/integration/test_outage.py kills brokers there."""

FULL: tuple[Scenario, ...] = (
    worker_faults.ONE_OF_THREE,
    worker_faults.STOPS_OF_THREE,
    worker_faults.SCALE,
    *(worker_faults.kills(25, workers) for workers in (1, 2, 3)),
    worker_faults.zombies(4),
    worker_faults.storm(kills=15, zombies=5, workers=2),
    worker_faults.storm(kills=15, zombies=5, workers=3),
    worker_faults.TIMED_OUT,
    broker_faults.TOO_LARGE,
    disk_faults.FULL_DISK,
    disk_faults.DAMAGED,
    disk_faults.UNREADABLE,
    clock_faults.JUMPS,
    line_faults.LOST_ANSWERS,
    line_faults.CUTS,
    broker_faults.ONE_BROKER,
    broker_faults.LEADERS,
    broker_faults.PAUSED,
    broker_faults.TOO_FEW_COPIES,
    broker_faults.outage(30.0),
)
