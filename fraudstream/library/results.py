"""What `Detector.score` answers: verdicts, refused rows and features, typed, and as records or frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraudstream.verdict import Verdict, decode_verdict

if TYPE_CHECKING:
    from fraudstream.library.rows import Row
    from fraudstream.pipeline import Outcome


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that could not be scored.

    Attributes:
        row: its place in the input, from 0.
        transaction_id: where the row has one that can be read.
        reason: stable code, as on the topic of dead letters.
        detail: the field, what was expected and what came.
    """

    row: int
    transaction_id: str | None
    reason: str
    detail: str


@dataclass(slots=True, eq=False)
class Result:
    """Every row of the input is either a verdict or refused.

    Attributes:
        verdicts: in the order of the input.
        rows: (len(verdicts),) each verdict's place in the input, from 0.
        features: (len(verdicts), features) float32, as the model read them.
        refused: rows that could not be scored, and why.
    """

    verdicts: list[Verdict]
    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    refused: list[Refused]
    _features: list[NDArray[np.float32]] = field(default_factory=list, repr=False)
    _rows: list[int] = field(default_factory=list, repr=False)
    _seen: int = field(default=0, repr=False)

    @classmethod
    def empty(cls, features: int) -> Result:
        """A result without rows, to be added to."""
        return cls([], np.empty(0, np.int64), np.empty((0, features), np.float32), [])

    def keep_refused(self, batch: Sequence[Row], first_offset: int) -> list[Row]:
        """Numbers the rows, notes those that were refused while reading, and gives the others."""
        readable = []
        for at, row in enumerate(batch):
            row.offset = first_offset + at
            if row.refused is None:
                readable.append(row)
            else:
                self.refused.append(
                    Refused(self._seen + at, row.transaction_id, row.refused.reason, row.refused.detail)
                )
        return readable

    def add(self, readable: Sequence[Row], outcome: Outcome, first_offset: int) -> None:
        """Takes what the pipeline made of the readable rows of a batch."""
        first = self._seen - first_offset
        known = {row.offset: row.transaction_id for row in readable}
        for letter in outcome.dead_letters:
            self.refused.append(Refused(first + letter.offset, known.get(letter.offset), letter.reason, letter.detail))
        dead = {letter.offset for letter in outcome.dead_letters}
        self._rows += [first + row.offset for row in readable if row.offset not in dead]
        self.verdicts += [decode_verdict(emitted.value) for emitted in outcome.verdicts]
        if outcome.computed is not None:
            self._features.append(outcome.computed.features)

    def advance(self, rows: int) -> None:
        """So many rows of the input are dealt with."""
        self._seen += rows

    def whole(self) -> Result:
        """The result with its arrays in one piece."""
        self.rows = np.array(self._rows, np.int64)
        self.features = np.concatenate([self.features, *self._features])
        self.refused.sort(key=lambda one: one.row)
        return self

    def __len__(self) -> int:
        return len(self.verdicts)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    @property
    def flagged(self) -> list[Verdict]:
        """The verdicts that exceed their threshold."""
        return [verdict for verdict in self.verdicts if verdict.flagged]

    def to_records(self) -> list[dict[str, Any]]:
        """A dict for each verdict, as its JSON has it; times are datetimes."""
        return [msgspec.to_builtins(verdict, builtin_types=_DATETIME) for verdict in self.verdicts]

    def to_columns(self, *, features: bool = False) -> dict[str, list[Any]]:
        """Flat columns: the verdicts' fields with members apart, `row`, and the reasons' codes.

        Args:
            features: with a column for each feature, named `feature_NAME`.
        """
        simple = [name for name in Verdict.__struct_fields__ if name not in {"members", "reasons", "degraded"}]
        columns: dict[str, list[Any]] = {"row": self.rows.tolist()}
        columns |= {name: [getattr(verdict, name) for verdict in self.verdicts] for name in simple}
        for member in ("forest", "autoencoder", "lstm"):
            columns[f"member_{member}"] = [getattr(verdict.members, member) for verdict in self.verdicts]
        columns["reasons"] = [[reason.code for reason in verdict.reasons] for verdict in self.verdicts]
        columns["degraded"] = [list(verdict.degraded) for verdict in self.verdicts]
        if features:
            from fraudstream.features.catalogue import FEATURE_NAMES

            columns |= {f"feature_{name}": self.features[:, at].tolist() for at, name in enumerate(FEATURE_NAMES)}
        return columns

    def to_pandas(self, *, features: bool = False) -> Any:
        """`to_columns` as a pandas DataFrame; needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.to_columns(features=features))

    def to_polars(self, *, features: bool = False) -> Any:
        """`to_columns` as a polars DataFrame; needs polars."""
        import polars as pl

        return pl.DataFrame(self.to_columns(features=features))

    def to_arrow(self, *, features: bool = False) -> Any:
        """`to_columns` as a pyarrow Table; needs pyarrow."""
        import pyarrow as pa

        return pa.table(self.to_columns(features=features))


_DATETIME = (datetime,)
