"""The records that every case consumes: real transactions where the data set is there, the simulator's otherwise."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fraudstream.training.history import encode_rows, read_history
from fraudstream.training.simulate import SimulationSpec, simulate

DATA_SET = Path(__file__).resolve().parents[2] / "shared" / "data" / "sparkov_a.parquet"
"""One of the labelled data sets kept beside the checkout in ../shared/data."""


@dataclass(frozen=True, slots=True)
class Records:
    """Keys and JSON values in the order of event time.

    Attributes:
        source: where they come from, for the report.
        messages: (user_id, transaction as JSON).
    """

    source: str
    messages: list[tuple[bytes, bytes]]

    @property
    def mean_bytes(self) -> float:
        """Mean size of a value."""
        return sum(len(value) for _, value in self.messages) / len(self.messages)


def load_records(rows: int, data_set: Path = DATA_SET) -> Records:
    """The first `rows` transactions of the data set, or of the simulator where there is no such file.

    Raises:
        DataFileError: the data set is there but cannot be read.
    """
    if data_set.exists():
        return Records(f"the first rows of {data_set.name}", encode_rows(read_history(data_set, rows=rows)))
    return Records(
        f"the simulator's (the data set {data_set.name} is not beside the checkout)",
        encode_rows(simulate(SimulationSpec(transactions=rows))),
    )


def of_few_users(messages: Sequence[tuple[bytes, bytes]], users: int) -> list[tuple[bytes, bytes]]:
    """The same payments, but of so few users that each has many: the old ones are folded into them."""
    folded = []
    for key, value in messages:
        fields: dict[str, Any] = msgspec.json.decode(value)
        fields["user_id"] = f"user-{zlib.crc32(key) % users}"
        folded.append((fields["user_id"].encode(), msgspec.json.encode(fields)))
    return folded
