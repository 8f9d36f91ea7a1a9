"""How a model comes out of a file, from top to bottom: read, check, reference, replay, fit, calibrate, save.

Each step that takes long leaves its result in OUT/.unfinished, so that the same command goes on where an earlier one
was stopped, and the model has the same bytes as if it had not been. Nothing here prints: see `Shown`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Protocol

import numpy as np

import fraudstream
from fraudstream.errors import DataFileError
from fraudstream.features.catalogue import catalogue_hash
from fraudstream.features.engine import DUPLICATE
from fraudstream.features.reference import Reference
from fraudstream.score.artifact import Manifest, TrainingFacts, save
from fraudstream.training import members
from fraudstream.training.checks import DataReport, read_checked, unknown_categories
from fraudstream.training.fit import FEWEST_ROWS
from fraudstream.training.history import History
from fraudstream.training.reference import fit_reference
from fraudstream.training.replay import replay_features
from fraudstream.training.side_by_side import fits
from fraudstream.training.split import check_borders, enough_rows, learnt
from fraudstream.training.times import NS_PER_S
from fraudstream.training.unfinished import Arrays, WorkFiles, work_files

_LIBRARIES = ("numba", "numpy", "pyarrow", "scikit-learn", "torch")
_CODE = ("features", "state", "score", "training")
"""Packages whose code has a say in the model."""
_HASHED_BYTES = 1 << 22
_SHOWN_NAMES = 5

Advance = Callable[[int], None]
"""Called with how much of a step is done, counted from its start."""


class Shown(Protocol):
    """Where a training tells what it found and how far it is."""

    def progress(self, what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Shows a step from its begin to its end."""

    def line(self, text: str) -> None:
        """Shows one line."""

    def data(self, report: DataReport) -> None:
        """Shows what is in the file."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        source: a .parquet or .csv file of transactions.
        out: directory of the model.
        columns: our name -> the file's, where they differ.
        since: learn from this time on; None: after a warm-up.
        until: read up to this time; None: to the end.
        seed: of everything random.
        allowed_lateness_s: as the worker's setting.
    """

    source: Path
    out: Path
    columns: Mapping[str, str]
    since: str | None
    until: str | None
    seed: int
    allowed_lateness_s: int


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of it.

    Attributes:
        manifest: of the model that was saved.
        data: what was in the file.
        seconds: that each step took in this run; the members' fits go on side by side.
        resumed: steps whose result an earlier run had left.
    """

    manifest: Manifest
    data: DataReport
    seconds: dict[str, float]
    resumed: tuple[str, ...]


def train(order: Order, shown: Shown) -> Trained:
    """Fits the three models to a file and writes them; labels are not read.

    Raises:
        DataFileError: the file cannot be used, or the directory cannot be written to.
        SettingsError: `since` or `until` is no time, or they are the wrong way round.
        ModelError: there are too few transactions to learn from.
    """
    check_borders(order.since, order.until)
    seconds: dict[str, float] = {}

    with _timed("read", seconds, shown):
        data_hash = file_hash(order.source, shown)
        history, report = read_checked(order.source, order.columns, until=order.until)
    shown.data(report)
    first = enough_rows(history, order.since, FEWEST_ROWS)

    with work_files(order.out, _dependencies(order, data_hash, report)) as work:
        if work.changed:
            shown.line(f"the unfinished training in {order.out} had other {', '.join(work.changed)}: starting afresh")

        with _timed("reference", seconds, shown):
            tables = work.tensors("reference", lambda: fit_reference(learnt(history, first)).tensors())
            reference = Reference.from_tensors(tables)
        rare = unknown_categories(History(history.table.slice(first)), reference.category)
        if rare:
            shown.line(_rare(rare))

        with _timed("replay", seconds, shown):
            stream = work.arrays("replay", lambda: _replay(history, first, reference, order, shown))
        # A duplicate is no transaction of its own: the profile counted it once, and so do the models.
        rows = np.flatnonzero(stream["status"] != DUPLICATE)
        sample = members.draw(stream["features"], stream["sequences"], rows, order.seed)

        fitted = _fitted(work, sample, order.seed, seconds, shown)

        with _timed("calibration", seconds, shown):
            ensemble = members.calibrate(fitted, sample)

        times_ns = history.numbers("timestamp")
        facts = TrainingFacts(
            first_event_time=_moment(times_ns[first]),
            last_event_time=_moment(times_ns[-1]),
            rows=len(rows),
            seed=order.seed,
            source=order.source.name,
            created_at=datetime.now(UTC),
            data_hash=data_hash,
        )
        manifest = save(order.out, ensemble, reference, facts)
    if work.resumed:
        shown.line(f"from an earlier run: {', '.join(work.resumed)}")
    return Trained(manifest, replace(report, unknown_categories=rare), seconds, tuple(work.resumed))


def file_hash(path: Path, shown: Shown) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        DataFileError: it cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file, shown.progress("hash", path.stat().st_size, "bytes") as advance:
            while part := file.read(_HASHED_BYTES):
                digest.update(part)
                done += len(part)
                advance(done)
    except OSError as error:
        raise DataFileError(f"{path}: expected a file of transactions, got {error.strerror}") from None
    return digest.hexdigest()


def _rare(categories: Mapping[str, int]) -> str:
    names = ", ".join(list(categories)[:_SHOWN_NAMES]) + (", …" if len(categories) > _SHOWN_NAMES else "")
    return (
        f"rare categories: {sum(categories.values()):,} rows of {len(categories):,} categories too rare to be learnt "
        f"({names}), judged by what everybody pays"
    )


def _replay(history: History, first: int, reference: Reference, order: Order, shown: Shown) -> Arrays:
    with shown.progress("replay", len(history), "rows") as advance:
        replay = replay_features(
            history, order.allowed_lateness_s, reference, skip_rows=first, progress=lambda done, _: advance(done)
        )
    return {"features": replay.features, "sequences": replay.sequences, "status": replay.status}


def _fitted(
    work: WorkFiles, sample: members.Sample, seed: int, seconds: dict[str, float], shown: Shown
) -> dict[str, Arrays]:
    """Every member's tensors; they are fitted side by side, and shown and kept one after the other."""
    fitted: dict[str, Arrays] = {}
    rows = len(sample.inputs)
    with fits(sample, seed, [name for name in members.MEMBER_FITS if not work.has_tensors(name)]) as running:

        def wait_for(name: str) -> Arrays:
            with shown.progress(name, rows, "rows") as advance:
                tensors, seconds[name] = running.result(name, lambda share: advance(int(share * rows)))
            return tensors

        for name in members.MEMBER_FITS:
            seconds[name] = 0.0
            fitted[name] = work.tensors(name, partial(wait_for, name))
            _tell(name, seconds, shown)
    return fitted


def _dependencies(order: Order, data_hash: str, report: DataReport) -> dict[str, object]:
    """Everything that the model depends on; whatever is asked anew with the same of these gives the same model."""
    return {
        "data": data_hash,
        "columns": dict(order.columns),
        "since": order.since,
        "until": order.until,
        "seed": order.seed,
        "allowed_lateness_s": order.allowed_lateness_s,
        "rows": report.used,  # what counts as the future moves on with the clock
        "catalogue": catalogue_hash(),
        "code": _code_hash(),
        "libraries": {"python": python_version()} | {name: version(name) for name in _LIBRARIES},
    }


def _code_hash() -> str:
    digest = hashlib.sha256()
    root = Path(fraudstream.__file__).parent
    for package in _CODE:
        for path in sorted((root / package).glob("*.py")):
            digest.update(f"{package}/{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _timed(step: str, seconds: dict[str, float], shown: Shown) -> Iterator[None]:
    started_s = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - started_s
    _tell(step, seconds, shown)


def _tell(step: str, seconds: dict[str, float], shown: Shown) -> None:
    seconds[step] = round(seconds[step], 3)
    shown.line(f"{step}: {seconds[step]:.1f} s")


def _moment(time_ns: np.int64) -> datetime:
    return datetime.fromtimestamp(int(time_ns) // NS_PER_S, UTC)
