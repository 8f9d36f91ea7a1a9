"""The library's face: what `import fraudstream` promises, and that scoring offline is what a worker would say."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fraudstream
from fraudstream.dead_letter import REASONS
from fraudstream.errors import DataFileError, FeatureError, ModelError, SettingsError
from fraudstream.library.detector import Detector, UserProfiles
from fraudstream.pipeline import process
from fraudstream.state.profile import EMPTY
from fraudstream.training.history import write
from fraudstream.training.judge import judge
from fraudstream.transaction import Transaction
from fraudstream.verdict import decode_verdict
from fraudstream.verdict_lines import verdicts_of
from tests.checkout import ROOT
from tests.fitted import small_history
from tests.unit.test_pipeline import message

START_S = 1_764_000_000

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


def rows(number: int) -> list[dict[str, Any]]:
    return [
        {
            "transaction_id": f"t{at}",
            "user_id": f"u{at % 3}",
            "amount": 20.0 + at % 7,
            "merchant": "shop",
            "category": "food",
            "timestamp": START_S + at * 7200,
        }
        for at in range(number)
    ]


# The face


def test_importing_the_package_or_listing_its_commands_brings_no_heavy_library() -> None:
    heavy = "[m for m in ('torch', 'faust', 'numba', 'numpy', 'pyarrow', 'aiokafka') if m in sys.modules]"
    for program in ("import fraudstream; dir(fraudstream); fraudstream.load_settings; fraudstream.Transaction",):
        assert python(f"import sys\n{program}\nprint({heavy})").strip() == "[]"
    listing = (
        "import sys\nfrom click.testing import CliRunner\nfrom fraudstream.cli.main import main\n"
        f"assert 'worker' in CliRunner().invoke(main, ['--help']).output\nprint({heavy})"
    )
    assert python(listing).strip() == "[]"


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    names = sorted(fraudstream.FACE)
    assert set(names) <= set(dir(fraudstream))
    for name in names:
        value = getattr(fraudstream, name)
        assert inspect.getdoc(value) or not (inspect.isclass(value) or inspect.isroutine(value)), name
        assert not name.startswith("_")
    with pytest.raises(AttributeError, match="no attribute 'Judge'"):
        fraudstream.Judge  # noqa: B018


def test_every_public_name_is_explained_in_the_tutorial() -> None:
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    assert [name for name in fraudstream.FACE if f"`{name}`" not in page and f"fraudstream.{name}" not in page] == []


# Scoring offline


def test_a_detector_says_what_the_workers_pipeline_says(detector: Detector) -> None:
    records = [message(at, f"u{at % 3}") for at in range(40)]
    profiles: dict[tuple[int, bytes], bytes] = {}
    expected = []
    for record in records:
        outcome = process(detector._parts, [record], lambda partition, key: profiles.get((partition, key), EMPTY))
        profiles.update(outcome.profiles)
        expected.append(decode_verdict(outcome.verdicts[0].value))
    result = detector.score(json.loads(record.value or b"") for record in records)
    assert [one.anomaly_score for one in result] == [one.anomaly_score for one in expected]
    assert [one.reasons for one in result] == [one.reasons for one in expected]
    assert result.rows.tolist() == list(range(40))
    assert result.features.shape == (40, len(detector.feature_names))
    assert result.refused == []


def test_a_file_is_scored_as_replay_scores_it(detector: Detector, tmp_path: Path) -> None:
    history = small_history().head(1500)
    write(history, tmp_path / "history.parquet")
    result = detector.score(tmp_path / "history.parquet")
    replayed = [verdict for _, rows in judge(detector._parts, history) for verdict in verdicts_of(rows.verdicts)]
    assert [one.anomaly_score for one in result] == [one.anomaly_score for one in replayed]
    by_frame = detector.score(history.table)
    assert by_frame.features.tobytes() == result.features.tobytes()


def frames() -> Iterator[Any]:
    columns = pd.DataFrame(rows(30))
    columns["category"] = columns["category"].where(columns.index % 2 == 0, None)
    yield pytest.param(columns, id="pandas, numeric times")
    with_times = columns.assign(timestamp=pd.to_datetime(columns["timestamp"], unit="s"))
    yield pytest.param(with_times, id="pandas, times without an offset are UTC")
    yield pytest.param(with_times.assign(timestamp=with_times["timestamp"].dt.tz_localize("UTC")), id="pandas, UTC")
    yield pytest.param(pa.Table.from_pandas(with_times), id="pyarrow")
    yield pytest.param(pl.from_pandas(with_times), id="polars")
    yield pytest.param(with_times.astype({"category": "category", "merchant": "string"}), id="pandas, other types")


@pytest.mark.parametrize("frame", list(frames()))
def test_a_frame_is_scored_as_its_rows_are(detector: Detector, frame: Any) -> None:
    plain = [one if at % 2 == 0 else {**one, "category": None} for at, one in enumerate(rows(30))]
    expected, result = detector.score(plain), detector.score(frame)
    assert result.refused == []
    assert result.features.tobytes() == expected.features.tobytes()
    assert [one.event_time for one in result] == [one.event_time for one in expected]


def test_columns_of_other_names_are_mapped(detector: Detector) -> None:
    frame = pd.DataFrame(rows(5)).rename(columns={"amount": "TransactionAmt"})
    assert len(detector.score(frame, columns={"amount": "TransactionAmt"})) == 5
    with pytest.raises(DataFileError, match=r"missing amount; it has .*TransactionAmt"):
        detector.score(frame)
    with pytest.raises(DataFileError, match=r"amount \(as Amt\)"):
        detector.score(frame, columns={"amount": "Amt"})
    with pytest.raises(DataFileError, match="got price"):
        detector.score(frame, columns={"price": "Amt"})
    renamed = [{**one, "sum": one["amount"], "amount": None} for one in rows(2)]
    assert len(detector.score(renamed, columns={"amount": "sum"})) == 2


REFUSED: list[Any] = [
    pytest.param({"amount": -1.0}, "out_of_range", "amount", id="negative"),
    pytest.param({"amount": float("nan")}, "not_finite", "amount", id="NaN"),
    pytest.param({"amount": float("inf")}, "not_finite", "amount", id="infinite"),
    pytest.param({"amount": "12"}, "wrong_type", "amount", id="text"),
    pytest.param({"user_id": None}, "missing_field", "user_id", id="no user"),
    pytest.param({"timestamp": None}, "missing_field", "timestamp", id="no time"),
    pytest.param({"timestamp": datetime(2026, 1, 1)}, "naive_time", "timestamp", id="no offset"),  # noqa: DTZ001
    pytest.param({"timestamp": 5}, "absurd_time", "timestamp", id="before 2000"),
    pytest.param({"timestamp": 5_000_000_000}, "absurd_time", "timestamp", id="after 2099"),
    pytest.param({"merchant": object()}, "wrong_type", "JSON", id="no JSON"),
]


@pytest.mark.parametrize(("wrong", "reason", "names"), REFUSED)
def test_a_refused_row_is_reported_with_its_place_and_reason(
    detector: Detector, wrong: dict[str, Any], reason: str, names: str
) -> None:
    given = rows(6)
    given[3] |= wrong
    result = detector.score(given)
    assert result.rows.tolist() == [0, 1, 2, 4, 5]
    (refused,) = result.refused
    assert (refused.row, refused.transaction_id, refused.reason) == (3, "t3", reason)
    assert names in refused.detail
    assert reason in REASONS


def test_a_row_that_is_no_transaction_is_reported_and_what_is_no_stream_is_a_type_error(detector: Detector) -> None:
    result = detector.score([*rows(2), "not a row"])
    assert (len(result), result.refused[0].row) == (2, 2)
    assert "expected a dict or a Transaction" in result.refused[0].detail
    for wrong in (rows(1)[0], 3, b"bytes", Transaction("t", "u", 1.0, "m")):
        with pytest.raises(TypeError, match="expected an iterable of dicts"):
            detector.score(wrong)


def test_numbers_of_other_libraries_are_numbers(detector: Detector) -> None:
    plain = rows(1)
    other = [plain[0] | {"amount": np.float64(20.0), "timestamp": np.int64(START_S)}]
    decimal = [plain[0] | {"amount": Decimal("20.00"), "timestamp": datetime.fromtimestamp(START_S, UTC)}]
    typed = [Transaction("t0", "u0", 20.0, "shop", "food", timestamp=START_S)]
    expected = detector.score(plain).features.tobytes()
    for given in (other, decimal, typed):
        assert detector.score(given).features.tobytes() == expected


def test_a_stream_in_parts_is_judged_as_in_one_piece(detector: Detector) -> None:
    given = rows(50)
    given[20] |= {"amount": -1}
    given.append(given[7])  # a duplicate
    whole, profiles = detector.score(given), UserProfiles()
    parts = [detector.score(given[at : at + 9], profiles=profiles) for at in range(0, len(given), 9)]
    assert [one for part in parts for one in part] == whole.verdicts
    assert whole.verdicts[-1].duplicate
    assert np.concatenate([part.features for part in parts]).tobytes() == whole.features.tobytes()
    assert [refused.row for part in parts for refused in part.refused] == [20 % 9]
    assert len(profiles) == 3
    profile = profiles.of("u1")
    assert profile is not None
    assert profile.count == 17
    assert profiles.of("nobody") is None


def test_an_empty_stream_gives_an_empty_result(detector: Detector) -> None:
    result = detector.score([])
    assert (len(result), result.refused, result.features.shape) == (0, [], (0, len(detector.feature_names)))
    assert result.to_pandas().empty


def test_a_result_becomes_records_and_frames(detector: Detector) -> None:
    result = detector.score([*rows(20), rows(1)[0] | {"transaction_id": "x", "amount": 9000.0, "timestamp": START_S}])
    records = result.to_records()
    assert records[0]["transaction_id"] == "t0"
    assert records[0]["members"].keys() == {"forest", "autoencoder", "lstm"}
    assert records[0]["event_time"] == datetime.fromtimestamp(START_S, UTC)
    frame, table = result.to_pandas(features=True), result.to_arrow()
    assert result.to_polars()["anomaly_score"].to_list() == frame["anomaly_score"].tolist()
    assert frame["anomaly_score"].tolist() == [one.anomaly_score for one in result]
    assert frame["feature_log_amount"].to_numpy(np.float32).tolist() == result.features[:, 0].tolist()
    assert table["flagged"].to_pylist() == [one.flagged for one in result]
    assert [verdict for verdict in result if verdict.flagged] == result.flagged
    assert [len(reasons) for reasons in frame["reasons"]] == [len(one.reasons) for one in result]


# Loading


def test_settings_are_given_by_keyword_and_an_unknown_one_is_refused() -> None:
    assert Detector.load(contamination=0.5).settings.contamination == 0.5
    with pytest.raises(SettingsError, match="contaminaton: expected names of settings"):
        Detector.load(contaminaton=0.5)
    with pytest.raises(SettingsError, match="CONTAMINATION"):
        Detector.load(contamination=2)


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fraudstream train"):
        Detector.load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="SCORER=nowhere"):
        Detector.load(scorer="nowhere")


def test_features_given_to_a_program_are_in_its_catalogue_and_too_late_after_the_first_model() -> None:
    program = """
import fraudstream, sys
from fraudstream import Verdict, errors
def total(event, history):
    return 0.5 + len(history)
def feature(name):
    return fraudstream.OwnFeature(name, "currency", "sum", "Sum at the merchant.", "unusual_merchant", None,
        compute=total, oracle=total, window_s=86400)
"""
    program += f"""
one = feature("total_here")
detector = fraudstream.Detector.load(features=[one])
result = detector.score({rows(4)!r})
print(detector.feature_names[-1], result.features[:, -1].tolist(), detector.model_version)
fraudstream.Detector.load(features=[one])
try:
    fraudstream.Detector.load(features=[feature("another")])
except errors.FeatureError as error:
    print("install" in str(error).lower(), "register_features" in str(error))
"""
    first, second = python(program).splitlines()
    name, *values, _version = first.split(" ")
    assert name == "total_here"
    assert json.loads(" ".join(values)) == [0.5, 0.5, 0.5, 1.5]
    assert second == "True True"


def test_a_feature_is_refused_by_the_face_as_it_is_inside(detector: Detector) -> None:
    with pytest.raises(FeatureError, match="OwnFeature objects"):
        Detector.load(features=["name"])  # type: ignore[list-item]


def test_a_check_without_its_library_says_what_to_install() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; from fraudstream import testing; testing.check_feature"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = ended.stderr.splitlines()[-1]
    assert "check_feature needs hypothesis" in last
    assert "pip install 'fraudstream[testing]'" in last


def test_a_detector_shows_what_it_judges_by(detector: Detector) -> None:
    assert repr(detector) == f"Detector(model_version='{detector.model_version}', contamination=0.1)"


@pytest.mark.parametrize("name", ["no.csv", "no.parquet"])
def test_a_file_that_is_not_there_is_told_in_one_line(detector: Detector, name: str) -> None:
    with pytest.raises(DataFileError, match=r"no.*: expected a file of transactions, got No such file or directory$"):
        detector.score(name)
