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
from fraudstream.score.ensemble import MEMBERS
from fraudstream.training.judge import JudgedRows
from fraudstream.verdict_lines import VerdictColumns, encoded
from fraudstream.wire.texts import TRANSACTION_ID, USER_ID

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
_US_PER_S = 1_000_000


class VerdictFile:
    """A file that takes one part after the other, as a context manager.

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

    def add(self, judged: JudgedRows) -> None:
        """Writes the verdicts of some rows."""
        if hasattr(self._sink, "write_table"):
            columns = _columns(judged.verdicts)
            if self._with_features:
                columns |= {name: pa.array(judged.features[:, at]) for at, name in enumerate(FEATURE_NAMES)}
            self._sink.write_table(pa.table(columns, self._schema))
            return
        lines = encoded(judged.verdicts).each()
        if self._with_features:
            lines = [
                line[:-1] + b',"features":' + msgspec.json.encode(dict(zip(FEATURE_NAMES, row, strict=True))) + b"}"
                for line, row in zip(lines, judged.features.tolist(), strict=True)
            ]
        self._sink.writelines(line + b"\n" for line in lines)


def _columns(verdicts: VerdictColumns) -> dict[str, Any]:
    """The verdicts as columns of the table."""
    rows = range(len(verdicts))
    return {
        "transaction_id": verdicts.texts.strings(TRANSACTION_ID),
        "user_id": verdicts.texts.strings(USER_ID),
        "event_time": pa.array(verdicts.event_s * _US_PER_S, pa.int64()).cast(_TIME),
        "anomaly_score": verdicts.anomaly,
        "anomaly_type": list(map(verdicts.type_of, rows)),
        "confidence": verdicts.confidence,
        "flagged": verdicts.flagged,
        "threshold": verdicts.thresholds,
        "explanation": list(map(verdicts.explanation_of, rows)),
        # A member that failed has no rank: NaN is nothing.
        **{name: pa.array(ranks, from_pandas=True) for name, ranks in zip(MEMBERS, verdicts.members.T, strict=True)},
        "late": verdicts.late,
        "duplicate": verdicts.duplicate,
        "degraded": [",".join(verdicts.degraded.get(row, ())) for row in rows],
        "model_version": [verdicts.model_version] * len(rows),
    }
