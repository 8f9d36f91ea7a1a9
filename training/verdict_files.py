"""Writes verdicts to a file as they come: .jsonl as they travel, .parquet and .csv as a table."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fraudstream.errors import DataFileError
from fraudstream.features.catalogue import FEATURE_NAMES
from fraudstream.pipeline import Outcome
from fraudstream.verdict import Verdict, decode_verdict

SUFFIXES = (".parquet", ".csv", ".jsonl")

_TIME = pa.timestamp("us", "UTC")
_COLUMNS: dict[str, pa.DataType] = {
    "transaction_id": pa.string(),
    "user_id": pa.string(),
    "event_time": _TIME,
    "anomaly_score": pa.float64(),
    "anomaly_type": pa.string(),
    "confidence": pa.float64(),
    "flagged": pa.bool_(),
    "threshold": pa.float64(),
    "explanation": pa.string(),
    "forest": pa.float64(),
    "autoencoder": pa.float64(),
    "lstm": pa.float64(),
    "late": pa.bool_(),
    "duplicate": pa.bool_(),
    "degraded": pa.string(),
    "model_version": pa.string(),
}
_MEMBERS = frozenset({"forest", "autoencoder", "lstm"})


class VerdictFile:
    """A file that takes one outcome after another, as a context manager.

    Args:
        path: ends in .parquet, .csv or .jsonl.
        with_features: each verdict also has the catalogue's features.

    Raises:
        DataFileError: another suffix, or the file cannot be written.
    """

    def __init__(self, path: Path, *, with_features: bool = False) -> None:
        if path.suffix not in SUFFIXES:
            came = path.suffix or "no suffix"
            raise DataFileError(f"{path}: expected a file name that ends in {', '.join(SUFFIXES)}, got {came}")
        names = FEATURE_NAMES if with_features else ()
        self._with_features = with_features
        self._schema = pa.schema([*_COLUMNS.items(), *((name, pa.float32()) for name in names)])
        try:
            self._sink = self._open(path)
        except OSError as error:
            raise DataFileError(f"{path}: expected a place to write to, got {error.strerror or error}") from None

    def _open(self, path: Path) -> Any:
        if path.suffix == ".parquet":
            return pq.ParquetWriter(path, self._schema, compression="zstd")
        return pa_csv.CSVWriter(path, self._schema) if path.suffix == ".csv" else path.open("wb")

    def __enter__(self) -> VerdictFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.close()

    def add(self, outcome: Outcome) -> None:
        """Writes the verdicts of a micro-batch."""
        if outcome.computed is None:
            return
        features = outcome.computed.features
        if hasattr(self._sink, "write_table"):
            table = _table([decode_verdict(emitted.value) for emitted in outcome.verdicts])
            if self._with_features:
                for at, name in enumerate(FEATURE_NAMES):
                    table = table.append_column(name, pa.array(features[:, at]))
            self._sink.write_table(table.cast(self._schema))
            return
        for emitted, row in zip(outcome.verdicts, features.tolist(), strict=True):
            line = emitted.value
            if self._with_features:
                named = dict(zip(FEATURE_NAMES, row, strict=True))
                line = line[:-1] + b',"features":' + msgspec.json.encode(named) + b"}"
            self._sink.write(line + b"\n")


def _table(verdicts: list[Verdict]) -> pa.Table:
    return pa.table(
        {name: pa.array([_cell(verdict, name) for verdict in verdicts], kind) for name, kind in _COLUMNS.items()}
    )


def _cell(verdict: Verdict, name: str) -> object:
    if name == "degraded":
        return ",".join(verdict.degraded)
    return getattr(verdict.members if name in _MEMBERS else verdict, name)
