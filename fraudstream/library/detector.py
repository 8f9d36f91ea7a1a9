"""`Detector`: scores transactions offline, by the worker's pipeline; heavy rooms come when one is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraudstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from fraudstream.features.own import OwnFeature
    from fraudstream.library.results import Result
    from fraudstream.pipeline import Detector as Parts
    from fraudstream.score.scorer import Scorer
    from fraudstream.state.profile import ProfileView
    from fraudstream.transaction import Transaction

BATCH_ROWS = 1024

Transactions = Iterable["Transaction | Mapping[str, Any]"] | Path | str | Any
"""Rows, a pandas or polars DataFrame, a pyarrow Table, or the path of a .parquet or .csv file."""


class UserProfiles:
    """What is known of every user, kept between calls of `Detector.score`, so that a stream can come in parts.

    >>> len(UserProfiles())
    0
    """

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}
        self.next_offset = 0
        """How many rows these profiles have seen."""

    def __len__(self) -> int:
        return len(self._records)

    def load(self, _partition: int, key: bytes) -> bytes:
        """The record of a user, empty for one who was never seen."""
        return self._records.get(key, b"")

    def put(self, records: Mapping[tuple[int, bytes], bytes]) -> None:
        """Takes the changed records of a micro-batch."""
        self._records.update((key, record) for (_, key), record in records.items())

    def of(self, user_id: str) -> ProfileView | None:
        """A user's profile in readable form, None for one who was never seen."""
        from fraudstream.state.profile import view

        return view(self.load(0, user_id.encode()))


class Detector:
    """A loaded model with the features it reads and the threshold it flags from; made by `load`."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self._parts = parts
        self.settings = settings

    def __repr__(self) -> str:
        return f"Detector(model_version={self.model_version!r}, contamination={self.settings.contamination})"

    @classmethod
    def load(
        cls,
        model: str | PathLike[str] | None = None,
        *,
        scorer: Scorer | str | None = None,
        features: Iterable[OwnFeature] = (),
        **settings: Any,
    ) -> Detector:
        """Loads a model.

        Args:
            model: a directory made by `fraudstream train`; absent: what MODEL_DIR or MODEL_REGISTRY names, or else
                the model in the package.
            scorer: a model of one's own in its place, or the name of an installed one.
            features: features of one's own that are not installed. They must come before the first model of this
                process is loaded; see `fraudstream.register_features`.
            settings: any field of `fraudstream.Settings`, such as `contamination=0.01`; they win over the environment.

        Raises:
            SettingsError: a setting is unknown or wrong.
            ModelError: the model cannot be used; says why.
            FeatureError: a feature came too late, or cannot be.
        """
        if model is not None:
            settings["model_dir"] = Path(model)
        if isinstance(scorer, str):
            settings["scorer"], scorer = scorer, None
        chosen = load_settings(**settings)
        from fraudstream.features import own

        own.register_features(features)
        from fraudstream.detector import load_detector

        return cls(load_detector(chosen, scorer), chosen)

    @property
    def model_version(self) -> str:
        """Of the model, as it stands in verdicts."""
        return self._parts.model_version

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The catalogue's names, in the order of a result's feature columns."""
        from fraudstream.features.catalogue import FEATURE_NAMES

        return FEATURE_NAMES

    def score(
        self,
        transactions: Transactions,
        *,
        profiles: UserProfiles | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Result:
        """Judges transactions in the order in which they come, which should be that of their time.

        Each must say its time: offline there is no broker whose clock could stand in. Where a row cannot be scored,
        the result says so under `refused`, with the reason that a worker would give.

        Args:
            transactions: an iterable of dicts or `Transaction`s, a pandas or polars DataFrame, a pyarrow Table, or the
                path of a .parquet or .csv file (whose rows are taken in the order of their time).
            profiles: what is known of the users; changed in place. Absent: every user is new at the first row.
            columns: our name -> the name of the frame's or file's column, where it differs.

        Raises:
            DataFileError: the frame or file lacks a column, or the file cannot be read.
            TypeError: `transactions` is nothing of the above.
            ModelError: the model gave no score.
        """
        from fraudstream.library.results import Result
        from fraudstream.library.rows import rows_of
        from fraudstream.pipeline import process

        known = UserProfiles() if profiles is None else profiles
        result = Result.empty(len(self.feature_names))
        for batch in _batches(rows_of(transactions, columns or {})):
            readable = result.keep_refused(batch, known.next_offset)
            outcome = process(self._parts, readable, known.load)
            known.put(outcome.profiles)
            result.add(readable, outcome, known.next_offset)
            known.next_offset += len(batch)
            result.advance(len(batch))
        return result.whole()


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch
