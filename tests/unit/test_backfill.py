"""Profiles made user by user are those of a worker that judged the whole stream in its order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudstream.agents import backfill as agents_backfill
from fraudstream.cli.main import main
from fraudstream.cli.spool import Spool
from fraudstream.detector import load_detector
from fraudstream.features.engine import FeatureEngine
from fraudstream.score.artifact import DEFAULT_MODEL
from fraudstream.settings import load_settings
from fraudstream.state.profile import view, without_offset
from fraudstream.training.backfill import Counts, final_profiles
from fraudstream.training.history import History, write
from fraudstream.training.simulate import SimulationSpec, simulate
from tests.by_messages import judge_messages

ROWS = 3_000
BAD_ROWS = (0, 7, ROWS // 2, ROWS - 1)


@pytest.fixture(scope="module")
def history() -> History:
    """Few users, so that they span batches; some rows that a worker refuses, among them all of one user."""
    table = simulate(SimulationSpec(transactions=ROWS, users=12, seed=21)).table
    names = table["merchant"].to_pylist()
    users = table["user_id"].to_pylist()
    for row in BAD_ROWS:
        names[row] = "line\nbreak"
    users[7] = "never-accepted"
    for name, values in (("merchant", names), ("user_id", users)):
        column = pa.array(values).cast(table.schema.field(name).type)
        table = table.set_column(table.column_names.index(name), name, column)
    return History(table)


@pytest.fixture(scope="module")
def engine() -> FeatureEngine:
    return load_detector(load_settings(model_dir=DEFAULT_MODEL)).engine


@pytest.fixture(scope="module")
def streamed(history: History) -> dict[bytes, bytes]:
    """The profiles of a worker that judged everything, without their offsets."""
    profiles: dict[bytes, bytes] = {}
    for outcome in judge_messages(load_detector(load_settings(model_dir=DEFAULT_MODEL)), history):
        profiles.update({key: record for (_, key), record in outcome.profiles.items()})
    return {key: without_offset(record) for key, record in profiles.items()}


@given(batch=st.one_of(st.integers(1, 40), st.integers(41, 2 * ROWS)))
@settings(max_examples=12, deadline=None)
def test_in_batches_of_any_size_the_profiles_are_those_of_a_worker_that_streamed(
    history: History, engine: FeatureEngine, streamed: dict[bytes, bytes], batch: int
) -> None:
    counts, told = Counts(), list[int]()
    parts = list(final_profiles(history, engine, counts, batch=batch, progress=told.append))
    items = [item for part in parts for item in part]
    assert len(dict(items)) == len(items), "a user came twice"
    assert dict(items) == streamed
    assert b"never-accepted" not in streamed
    assert (counts.rows, counts.users, told[-1]) == (ROWS, len(streamed), ROWS)
    assert counts.skipped == {"control_character": len(BAD_ROWS)}
    assert max(map(len, parts)) <= batch + 1, "more users at a time than a batch can bring"


def test_a_profile_of_a_backfill_has_seen_no_source_record(history: History, engine: FeatureEngine) -> None:
    for part in final_profiles(history, engine):
        for _, record in part:
            profile = view(record)
            assert profile is not None
            assert profile.source_offset == -1


def test_a_history_without_rows_gives_no_profiles(history: History, engine: FeatureEngine) -> None:
    assert [item for part in final_profiles(history.head(0), engine) for item in part] == []


@given(st.lists(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=99)), max_size=40), max_size=6))
def test_a_spool_gives_back_what_it_took_as_often_as_asked(parts: list[list[tuple[bytes, bytes]]]) -> None:
    taken = [item for part in parts for item in part]
    with Spool() as spool:
        for part in parts:
            spool.add(part)
        for _ in range(2):
            assert _flat(spool) == taken
        assert (len(spool), spool.size_bytes) == (len(taken), sum(len(record) for _, record in taken))


def test_a_spool_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Spool() as spool:
        spool.add([(b"k", b"r")])
    assert list(tmp_path.iterdir()) == []


def test_the_command_counts_what_lies_within_the_border_and_what_fills_the_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def done(*_: object) -> None:
        """No broker is asked."""

    monkeypatch.setattr(agents_backfill, "require_untouched", done)
    monkeypatch.setattr(agents_backfill, "write_profiles", done)
    good = simulate(SimulationSpec(transactions=300, users=5, seed=4))
    amounts = good.numbers("amount").copy()
    amounts[[10, 250, 299]] = -1.0
    at = good.table.column_names.index("amount")
    source, told = tmp_path / "f.parquet", tmp_path / "told.json"
    write(History(good.table.set_column(at, "amount", pa.array(amounts))), source)
    until = good.table["timestamp"][200].as_py().isoformat()
    past = len(good.between(until=until))
    options = ["--input", str(source), "--until", until, "--json", str(told)]
    ended = CliRunner().invoke(main, ["backfill", *options], env={"KAFKA_SERVERS": "127.0.0.1:1"})
    assert ended.exit_code == 0, ended.output
    result = json.loads(told.read_text(encoding="utf-8"))
    assert (result["rows"], result["skipped"], result["reasons"]) == (past, 1, {"out_of_range": 1})
    assert f"from {past - 1:,} transactions" in ended.stdout


def _flat(spool: Iterable[list[tuple[bytes, bytes]]]) -> list[tuple[bytes, bytes]]:
    return [item for part in spool for item in part]
