"""`fraudstream topics describe` writes what the topics carry, with the names that the settings give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fraudstream.cli.main import main
from fraudstream.wire_schemas import json_schemas
from tests.command_line import assert_one_line

pytestmark = pytest.mark.usefixtures("plain_environment")


def describe(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, ["topics", "describe", *map(str, arguments)], env=environment)


def test_the_document_goes_to_stdout_with_the_names_of_the_settings() -> None:
    ended = describe(VERDICTS_TOPIC="judged", TOPIC_PARTITIONS="7", KAFKA_SERVERS="nobody-is-asked:1")
    assert ended.exit_code == 0, ended.output
    document = json.loads(ended.stdout)
    assert document["asyncapi"].startswith("3.")
    assert document["channels"]["verdicts"]["address"] == "judged"
    assert document["channels"]["verdicts"]["bindings"]["kafka"]["partitions"] == 7
    assert document["servers"]["broker-1"]["host"] == "nobody-is-asked:1"


def test_document_and_schemas_are_written_into_a_directory(tmp_path: Path) -> None:
    out = tmp_path / "new" / "directory"
    ended = describe("--out", out)
    assert ended.exit_code == 0, ended.output
    written = {path.relative_to(out).as_posix(): json.loads(path.read_text("utf-8")) for path in out.rglob("*.json")}
    assert written.pop("asyncapi.json") == json.loads(describe().stdout)
    assert written == {f"schemas/{stem}.json": schema for stem, schema in json_schemas().items()}
    assert len(ended.stdout.splitlines()) == 1 + len(written)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert_one_line(describe("--out", tmp_path / "file" / "inside"), 2, "expected a directory", "--out")


def test_a_topic_name_that_kafka_does_not_take_is_one_line() -> None:
    assert_one_line(describe(ALERTS_TOPIC="no blanks"), 2, "ALERTS_TOPIC", "no blanks")
