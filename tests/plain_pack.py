"""The words of a transaction, packed the plain way, one at a time: what `state.event.pack` must be equal to."""

from __future__ import annotations

from fraudstream.state.event import ABSENT, COORDINATE_STEPS, NO_PLACE, hash16, hash32, identity_of, to_cents
from fraudstream.transaction import Transaction


def pack_one(transaction: Transaction, time_s: int) -> tuple[int, int, int, int, int, int, int, int]:
    """The eight words of a transaction whose event time is `time_s` (whole seconds since 1970)."""
    id_low, id_high = identity_of(transaction.transaction_id)
    category = hash16(transaction.category) if transaction.category else ABSENT
    location = hash16(transaction.location) if transaction.location else ABSENT
    return (
        time_s,
        to_cents(transaction.amount),
        hash32(transaction.merchant),
        id_low,
        id_high,
        category << 16 | location,
        hash32(transaction.device_id) if transaction.device_id else ABSENT,
        _place(transaction.latitude, transaction.longitude),
    )


def _place(latitude: float | None, longitude: float | None) -> int:
    if latitude is None or longitude is None:
        return NO_PLACE
    return (round(latitude * COORDINATE_STEPS) & 0xFFFF) << 16 | (round(longitude * COORDINATE_STEPS) & 0xFFFF)
