"""What is usual for a category and for everybody: tables fitted to the training stream, frozen in the model.

Live, replay and training read the same tables, so a feature that compares with others than the user needs no state
beyond the user's own. How they are fitted stands in fraudstream.training.reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS_PER_NAT = 64
TAIL_NATS = 18
TAIL_KNOTS = TAIL_NATS * STEPS_PER_NAT + 1
"""Knots of a tail table: log1p of the amount from 0 to 18, which holds every amount that the wire allows."""

HASHES = 65_536
"""Category hashes have 16 bits, so a plain array finds a category's row."""


class Tables(NamedTuple):
    """A reference as the kernels read it; see `Reference`, and `row_of`: (HASHES,) row of each category hash."""

    row_of: NDArray[np.int16]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    tail: NDArray[np.float32]
    device: NDArray[np.uint32]
    device_users: NDArray[np.uint32]
    merchant_gain: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Frozen facts of the training stream; the last row of each table stands for everybody.

    Attributes:
        category: (c,) hashes of the categories that have a row of their own, ascending.
        mean: (c + 1,) mean of log1p(amount).
        deviation: (c + 1,) its deviation, with a floor.
        tail: (c + 1, TAIL_KNOTS) -log of the share of amounts that are at least as large, at log1p(amount) = knot / 64.
        device: (d,) hashes of devices that several users shared, ascending.
        device_users: (d,) how many users.
        merchant_gain: (1,) how much better the amounts of the training stream are known when one knows what the user
            pays at the merchant: the share of the variance of log1p(amount) that this explains of what the category's
            mean and the user's own in the category leave open, 0 to 1.
    """

    category: NDArray[np.uint32]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    tail: NDArray[np.float32]
    device: NDArray[np.uint32]
    device_users: NDArray[np.uint32]
    merchant_gain: NDArray[np.float64]
    tables: Tables = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = len(self.category) + 1
        if self.mean.shape != (rows,) or self.deviation.shape != (rows,) or self.tail.shape != (rows, TAIL_KNOTS):
            raise ValueError(f"reference: {self.mean.shape}, {self.tail.shape} do not fit {rows - 1} categories")
        if self.merchant_gain.shape != (1,):
            raise ValueError(f"reference: expected one merchant gain, got {self.merchant_gain.shape}")
        if self.device.shape != self.device_users.shape:
            raise ValueError(f"reference: {self.device.shape} devices, {self.device_users.shape} counts")
        row_of = np.full(HASHES, rows - 1, np.int16)
        row_of[self.category] = np.arange(rows - 1)
        tables = Tables(
            row_of, self.mean, self.deviation, self.tail, self.device, self.device_users, self.merchant_gain
        )
        # One memory layout for all: a kernel is compiled for the layout that it gets.
        object.__setattr__(self, "tables", Tables(*map(np.ascontiguousarray, tables)))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What an artifact keeps."""
        return {
            "category": self.category,
            "mean": self.mean,
            "deviation": self.deviation,
            "tail": self.tail,
            "device": self.device,
            "device_users": self.device_users,
            "merchant_gain": self.merchant_gain,
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[Any]]) -> Reference:
        """The reverse of `tensors`.

        Raises:
            KeyError, ValueError: a table is missing or does not fit the others.
        """
        names = ("category", "mean", "deviation", "tail", "device", "device_users", "merchant_gain")
        return cls(*(tensors[name] for name in names))


NEUTRAL = Reference(
    category=np.empty(0, np.uint32),
    mean=np.array([3.5]),
    deviation=np.array([1.3]),
    tail=np.maximum(np.arange(TAIL_KNOTS)[None] / STEPS_PER_NAT - 3.5, 0.0).astype(np.float32),
    device=np.empty(0, np.uint32),
    device_users=np.empty(0, np.uint32),
    merchant_gain=np.zeros(1),
)
"""For features before there is a model: amounts around 32, as in card payments anywhere."""
