"""The columns that transactions in a file or a frame must have, and what is said of those that are not there."""

from __future__ import annotations

from collections.abc import Collection, Mapping

REQUIRED = ("transaction_id", "user_id", "amount", "merchant", "timestamp")


def missing_columns(sources: Mapping[str, str], columns_map: Mapping[str, str], there: Collection[str]) -> list[str]:
    """The columns that are needed, or were named, and are not there; each as an error names it.

    Args:
        sources: our name -> the name of the column that it is read from.
        columns_map: the part of it that the user named.
        there: the columns that there are.

    >>> missing_columns({"amount": "paid", "merchant": "merchant", "category": "category"}, {"amount": "paid"}, [])
    ['amount (as paid)', 'merchant']
    """
    return [
        f"{name} (as {source})" if source != name else name
        for name, source in sources.items()
        if source not in there and (name in REQUIRED or name in columns_map)
    ]
