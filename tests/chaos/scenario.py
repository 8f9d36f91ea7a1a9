"""A scenario: what is broken, on what, and what it may cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.bed import Bed


@dataclass(frozen=True)
class Scenario:
    """One way to break things.

    Attributes:
        script: breaks them, while transactions keep coming.
        about: one sentence for the table's reader.
        workers, brokers: how many there are at the start.
        has_line: clients reach the broker by a line that can be cut (one broker only).
        prepare: before the workers start.
        slower: the usual rate is divided by this.
        settings: of the workers, where they are not the usual ones.
        silence_s: no partition may be without a verdict for longer; None: it is only measured.
        resumed_s: seconds from the mark "back" until each partition has a verdict again; None: not asked.
        may_end: workers may end by themselves, to be started again by their supervisor.
        dead_letters: how many are expected, by reason; -1 for at least one.
    """

    name: str
    script: Callable[[Bed], Awaitable[None]]
    about: str
    workers: int = 2
    brokers: int = 1
    has_line: bool = False
    prepare: Callable[[Bed], Awaitable[None]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    slower: float = 1.0
    silence_s: float | None = None
    resumed_s: float | None = None
    may_end: bool = False
    dead_letters: Mapping[str, int] = field(default_factory=dict)
