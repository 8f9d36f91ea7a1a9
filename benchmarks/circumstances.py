"""Where and when something was measured, in the words that every report uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fraudstream.machine import Machine


def measured_on(date: datetime, machine: Machine, loads: Sequence[float]) -> str:
    """Date, machine, versions and load average, as two lines of Markdown.

    Args:
        date: in UTC.
        machine: with the versions of the libraries that matter.
        loads: the load averages before each measurement.
    """
    load = f"{min(loads):.1f} to {max(loads):.1f}" if len(set(loads)) > 1 else f"{loads[0]:.1f}"
    return (
        f"Measured on {date:%Y-%m-%d %H:%M} UTC: {machine.processor}, {machine.cores} cores, "
        f"{machine.memory_gib:g} GiB, {machine.kernel}, Python {machine.python}; {versions(machine)}.\n"
        f"Load average before each measurement: {load}."
    )


def versions(machine: Machine) -> str:
    """Names and versions of its libraries."""
    return ", ".join(f"{name} {number}" for name, number in machine.libraries.items())
