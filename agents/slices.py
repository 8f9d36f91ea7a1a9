"""How much is judged before the event loop is let go: what fits into a few milliseconds, on whatever machine.

A request to /predict or /health waits for the slice that is judged just then. Larger slices cost less CPU for each
transaction, so a slice is as large as the time allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

LARGEST, SMALLEST = 512, 64
"""Records. More than the largest saves nothing more; a machine that needs longer for the smallest is too slow."""

HELD_S = 0.008

Part_co = TypeVar("Part_co", covariant=True)


class Source(Protocol[Part_co]):
    """What can be read some records at a time."""

    def is_at_end(self) -> bool: ...
    def read(self, most: int) -> Part_co: ...


class Slices:
    """Cuts what is to be judged; one per worker.

    Attributes:
        records: how many are in the next slice.
    """

    def __init__(self) -> None:
        self.records = LARGEST

    def of(self, source: Source[Part_co]) -> Iterator[Part_co]:
        """What there is to read in slices; how long the one before took decides how large the next one is."""
        while not source.is_at_end():
            yield source.read(self.records)

    def learn(self, judged: int, held_s: float) -> None:
        """A slice of so many records has held the loop for so long.

        A small one tells nothing about a large one: what each slice costs for itself would be counted as its records'.
        """
        if 2 * judged < self.records:
            return
        fitting = judged * HELD_S / max(held_s, 1e-6)
        # Half the way, because one slice may have met a pause of the machine.
        self.records = round(min(max((self.records + fitting) / 2.0, SMALLEST), LARGEST))
