"""What a feature of one's own sees: one event, and the user's earlier ones as columns; views of the packed words.

Text is kept as hashes (`fraudstream.state.event`), so equal numbers mean the same merchant, device or place, and 0 that
there was none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fraudstream.state.event import (
    CATEGORY_LOCATION,
    CENTS,
    CENTS_PER_UNIT,
    COORDINATE_STEPS,
    DEVICE,
    MERCHANT,
    NO_PLACE,
    PLACE,
    TIME,
)

_LOW_HALF = 0xFFFF


class Event:
    """One transaction, as the profile remembers it.

    Args:
        words: (EVENT_WORDS,) as `fraudstream.state.event.pack` gives them.
    """

    __slots__ = ("words",)

    def __init__(self, words: NDArray[np.uint32]) -> None:
        self.words = words

    @property
    def time_s(self) -> int:
        """Event time, whole seconds since 1970."""
        return int(self.words[TIME])

    @property
    def amount(self) -> float:
        """In main units, whole cents."""
        return int(self.words[CENTS]) / CENTS_PER_UNIT

    @property
    def merchant(self) -> int:
        """Hash of the merchant."""
        return int(self.words[MERCHANT])

    @property
    def category(self) -> int:
        """Hash of the category, 0 without one."""
        return int(self.words[CATEGORY_LOCATION]) >> 16

    @property
    def location(self) -> int:
        """Hash of the location, 0 without one."""
        return int(self.words[CATEGORY_LOCATION]) & _LOW_HALF

    @property
    def device(self) -> int:
        """Hash of the device, 0 without one."""
        return int(self.words[DEVICE])

    @property
    def latitude(self) -> float:
        """In degrees, in hundredths; NaN without coordinates."""
        return float(_degrees(self.words[PLACE : PLACE + 1], 16)[0])

    @property
    def longitude(self) -> float:
        """In degrees, in hundredths; NaN without coordinates."""
        return float(_degrees(self.words[PLACE : PLACE + 1], 0)[0])

    def __repr__(self) -> str:
        place = "" if math.isnan(self.latitude) else f", {self.latitude}, {self.longitude}"
        return (
            f"Event(time_s={self.time_s}, amount={self.amount}, merchant={self.merchant}, category={self.category}, "
            f"location={self.location}, device={self.device}{place})"
        )


@dataclass(frozen=True)
class History:
    """A user's earlier transactions, oldest first, as columns of n values; made anew for each event.

    Attributes:
        words: (n, EVENT_WORDS) packed, for compiled functions.
    """

    words: NDArray[np.uint32]

    @classmethod
    def of(cls, words: NDArray[np.uint32], after_s: int) -> History:
        """Of (m, EVENT_WORDS) sorted by time, those later than `after_s`."""
        return cls(words[np.searchsorted(words[:, TIME], max(after_s, -1), side="right") :])

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def times_s(self) -> NDArray[np.int64]:
        """Event times, whole seconds since 1970."""
        return self.words[:, TIME].astype(np.int64)

    @cached_property
    def amounts(self) -> NDArray[np.float64]:
        """In main units."""
        return self.words[:, CENTS] / CENTS_PER_UNIT

    @property
    def merchants(self) -> NDArray[np.uint32]:
        """Hashes of the merchants."""
        return self.words[:, MERCHANT]

    @cached_property
    def categories(self) -> NDArray[np.uint32]:
        """Hashes of the categories, 0 without one."""
        return self.words[:, CATEGORY_LOCATION] >> np.uint32(16)

    @cached_property
    def locations(self) -> NDArray[np.uint32]:
        """Hashes of the locations, 0 without one."""
        return self.words[:, CATEGORY_LOCATION] & np.uint32(_LOW_HALF)

    @property
    def devices(self) -> NDArray[np.uint32]:
        """Hashes of the devices, 0 without one."""
        return self.words[:, DEVICE]

    @cached_property
    def latitudes(self) -> NDArray[np.float64]:
        """In degrees, NaN without coordinates."""
        return _degrees(self.words[:, PLACE], 16)

    @cached_property
    def longitudes(self) -> NDArray[np.float64]:
        """In degrees, NaN without coordinates."""
        return _degrees(self.words[:, PLACE], 0)


def _degrees(places: NDArray[np.uint32], shift: int) -> NDArray[np.float64]:
    halves = (places >> shift).astype(np.uint16).view(np.int16)
    return np.where(places == NO_PLACE, np.nan, halves / COORDINATE_STEPS)
