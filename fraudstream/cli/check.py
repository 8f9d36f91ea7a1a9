"""What `fraudstream doctor` tells of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        status: failed means that the worker cannot do without; skipped, that the settings do not ask for it.
        found: what came.
        todo: what to do, empty where nothing is to be done.
    """

    name: str
    status: Literal["ok", "failed", "skipped"]
    found: str
    todo: str = ""
