"""`fraudstream audit` keeps its contract: JSON keys, exit codes, and what it says about a trail that was touched."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fraudstream.adapters.audit_store import SQLITE_FILE, open_store
from fraudstream.cli.audit import months_before
from fraudstream.cli.main import main
from fraudstream.settings import load_settings
from tests.audit_rows import rows_of

pytestmark = pytest.mark.usefixtures("plain_environment")

ROWS = 60


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A trail of 60 rows, all of them of January 2024."""

    async def fill() -> None:
        async with open_store(load_settings(data_dir=tmp_path)) as store:
            await store.append(rows_of(ROWS))

    asyncio.run(fill())
    return tmp_path


def run(data_dir: Path, *arguments: str, **more: str) -> tuple[Result, Any]:
    """What the command said, and its JSON."""
    told = data_dir / "told.json"
    ended = CliRunner().invoke(
        main, ["audit", *arguments, "--json", str(told)], env={"DATA_DIR": str(data_dir), **more}
    )
    return ended, json.loads(told.read_text(encoding="utf-8")) if told.exists() else None


def test_verify_says_that_the_chain_holds(data_dir: Path) -> None:
    ended, told = run(data_dir, "verify")
    assert (ended.exit_code, told["rows"], told["broken"], told["findings"]) == (0, ROWS, 0, [])
    assert "60 rows: the chain holds" in ended.output


def test_verify_of_a_touched_trail_names_the_row_and_exits_with_1(data_dir: Path) -> None:
    connection = sqlite3.connect(data_dir / SQLITE_FILE)
    with connection:
        connection.execute("UPDATE evidence SET flagged = 1 - flagged WHERE transaction_id = 't7'")
    connection.close()
    ended, told = run(data_dir, "verify")
    assert (ended.exit_code, told["rows"], told["broken"]) == (1, ROWS, 1)
    assert told["findings"][0]["transaction_id"] == "t7"
    assert "partition 3 offset 14 (t7)" in ended.output


def test_heads_can_be_kept_elsewhere(data_dir: Path) -> None:
    ended, told = run(data_dir, "heads")
    assert ended.exit_code == 0, ended.output
    assert [(head["partition"], head["rows"], head["last_offset"]) for head in told["heads"]] == [
        (number, 15, 112 + 2 * number) for number in range(4)
    ]
    assert all(len(bytes.fromhex(head["head_hash"])) == 32 for head in told["heads"])
    assert told["heads"][0]["head_hash"] in ended.output


def test_heads_that_were_kept_are_held_to_the_trail(data_dir: Path) -> None:
    run(data_dir, "heads")
    kept = data_dir / "kept.json"
    kept.write_bytes((data_dir / "told.json").read_bytes())
    ended, told = run(data_dir, "verify", "--heads", str(kept))
    assert (ended.exit_code, told["broken"]) == (0, 0), ended.output
    kept.write_text(kept.read_text().replace('"last_offset": 112', '"last_offset": 114'))
    ended, told = run(data_dir, "verify", "--heads", str(kept))
    assert (ended.exit_code, told["broken"]) == (1, 1), ended.output
    assert "partition 0 offset 114: expected the row that the kept heads end with" in ended.output
    kept.write_text('{"heads": [{"partition": 0}]}')
    ended, _ = run(data_dir, "verify", "--heads", str(kept))
    assert ended.exit_code == 2
    assert "audit heads --json" in ended.output


@pytest.mark.parametrize("command", ["verify", "heads", "retain"])
def test_a_trail_that_is_not_there_does_not_hold_and_is_not_made(tmp_path: Path, command: str) -> None:
    ended, _ = run(tmp_path, command, AUDIT_RETENTION_MONTHS="1")
    assert (ended.exit_code, ended.output.count("\n")) == (1, 1), ended.output
    assert "there is none: set POSTGRES_URL or DATA_DIR" in ended.output
    assert not (tmp_path / SQLITE_FILE).exists()


def test_migrate_makes_the_file(tmp_path: Path) -> None:
    ended, told = run(tmp_path, "migrate")
    assert (ended.exit_code, told) == (0, {"revision": "1"})
    assert (tmp_path / SQLITE_FILE).exists()


def test_retain_needs_to_be_told_how_much(data_dir: Path) -> None:
    ended, _ = run(data_dir, "retain")
    assert ended.exit_code == 2
    assert "AUDIT_RETENTION_MONTHS" in ended.output


def test_retain_drops_what_is_older_and_the_rest_is_kept(data_dir: Path) -> None:
    ended, told = run(data_dir, "retain", AUDIT_RETENTION_MONTHS="1200")
    assert (ended.exit_code, told["rows"]) == (0, 0)
    ended, told = run(data_dir, "retain", "--months", "1")
    assert (ended.exit_code, told["rows"], told["months"]) == (0, ROWS, ["2024-01"]), ended.output
    ended, told = run(data_dir, "verify")
    assert (ended.exit_code, told["rows"], told["dropped"]) == (0, 0, ROWS)


def test_what_is_no_audit_trail_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / SQLITE_FILE).write_text("something else " * 100)
    ended, _ = run(tmp_path, "verify")
    assert (ended.exit_code, ended.output.count("\n")) == (1, 1)
    assert "expected the SQLite file of an audit trail" in ended.output


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "postgresql://u:hunter2/x@h/d", "postgresql://u:hunter2@[h/d"]
)
def test_an_address_that_cannot_be_read_is_told_without_the_password(tmp_path: Path, url: str) -> None:
    ended, _ = run(tmp_path, "verify", POSTGRES_URL=url)
    assert (ended.exit_code, ended.output.count("\n")) == (2, 1)
    assert "postgresql://USER" in ended.output
    assert "hunter2" not in ended.output


def test_a_database_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    ended, _ = run(tmp_path, "verify", POSTGRES_URL="postgresql://u:hunter2@127.0.0.1:1/d")
    assert (ended.exit_code, ended.output.count("\n")) == (1, 1)
    assert "expected PostgreSQL at POSTGRES_URL to answer" in ended.output
    assert "hunter2" not in ended.output


def test_doctor_looks_at_the_trail(data_dir: Path) -> None:
    ended = CliRunner().invoke(main, ["doctor"], env={"DATA_DIR": str(data_dir)})
    assert "holds 60 rows" in ended.output


def test_months_are_counted_over_the_turn_of_the_year() -> None:
    assert months_before(date(2026, 11, 25), 1) == date(2026, 10, 1)
    assert months_before(date(2026, 1, 31), 1) == date(2025, 12, 1)
    assert months_before(date(2026, 3, 1), 27) == date(2023, 12, 1)
