"""`fraudstream dead-letters list` and `show`: what they say, to people and to machines, whoever wrote the letters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result

from fraudstream.adapters.embedded_broker import EmbeddedBroker
from fraudstream.cli.main import main
from fraudstream.dead_letter import NOWHERE, REASONS
from fraudstream.settings import Settings
from tests.command_line import assert_one_line
from tests.letters import letter, write_letters
from tests.worker import environment

Run = Callable[..., Result]
HOUR_MS = 3_600_000
LONG_AGO_MS = 1_700_000_000_000


@pytest.fixture
def settings(embedded_broker: EmbeddedBroker, own_settings: Settings) -> Settings:
    embedded_broker.create_topic(own_settings.dead_letters_topic, 2)
    return own_settings.model_copy(update={"kafka_servers": embedded_broker.bootstrap})


@pytest.fixture
def run(settings: Settings) -> Run:
    def invoke(*arguments: object) -> Result:
        environ = {name: text for name, text in environment(settings).items() if name.lower() in Settings.model_fields}
        return CliRunner().invoke(main, ["dead-letters", *map(str, arguments)], env=environ)

    return invoke


def write(settings: Settings, *letters: Any, timestamp_ms: int | None = None) -> None:
    asyncio.run(write_letters(str(settings.kafka_servers), settings, letters, timestamp_ms=timestamp_ms))


def write_raw(settings: Settings, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_servers) as producer:
            await producer.send_and_wait(settings.dead_letters_topic, value, key=b"k", headers=headers, partition=1)

    asyncio.run(send())


def json_of(run: Run, tmp_path: Path, *arguments: object) -> Any:
    ended = run(*arguments, "--json", tmp_path / "out.json")
    assert ended.exit_code == 0, ended.output
    return json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))


def test_letters_are_counted_by_reason_and_the_newest_are_shown(run: Run, settings: Settings, tmp_path: Path) -> None:
    write(settings, letter("t", 5), timestamp_ms=LONG_AGO_MS)
    write(settings, letter("t", 6, reason="missing_field", detail="amount: expected a number"), letter("t", 7))
    told = json_of(run, tmp_path, "list")
    assert (told["dead_letters"], told["reasons"]) == (3, {"malformed_json": 2, "missing_field": 1})
    assert [(one["reason"], one["origin"]) for one in told["shown"]] == [
        ("malformed_json", "t/1@5"),
        ("missing_field", "t/1@6"),
        ("malformed_json", "t/1@7"),
    ]
    assert told["shown"][0] == {
        "reason": "malformed_json",
        "origin": "t/1@5",
        "detail": "message: expected a JSON object",
        "at": f"{settings.dead_letters_topic}/0@0",
        "time": "2023-11-14T22:13:20.000Z",
    }
    assert [one["origin"] for one in json_of(run, tmp_path, "list", "--limit", 1)["shown"]] == ["t/1@7"]
    chosen = json_of(run, tmp_path, "list", "--reason", "malformed_json", "--since", "2h")
    assert [one["origin"] for one in chosen["shown"]] == ["t/1@7"]
    both = json_of(run, tmp_path, "list", "--reason", "malformed_json", "--reason", "missing_field")
    assert both["dead_letters"] == 3
    assert json_of(run, tmp_path, "list", "--since", "2023-11-14T22:13:21Z")["dead_letters"] == 2


@pytest.mark.parametrize("place", ["0@1", "{own}/0@1", "t/1@6"])
def test_a_letter_is_shown_whole_wherever_one_points(run: Run, settings: Settings, tmp_path: Path, place: str) -> None:
    write(settings, letter("t", 5), letter("t", 6, b'{"amount": "1"}', reason="wrong_type", detail="amount: expected"))
    place = place.format(own=settings.dead_letters_topic)
    shown = run("show", place)
    assert shown.exit_code == 0, shown.output
    for said in ("wrong_type", REASONS["wrong_type"].means, REASONS["wrong_type"].do, "t/1@6", '{"amount": "1"}'):
        assert said in shown.output
    told = json_of(run, tmp_path, "show", place)
    assert (told["key"], told["value"], told["value_hex"]) == ("u", '{"amount": "1"}', None)


def test_bytes_that_are_no_text_are_shown_in_hex(run: Run, settings: Settings, tmp_path: Path) -> None:
    write(settings, letter("t", 5, bytes(range(0x78, 0x90)), key=None, reason="invalid_utf8"))
    shown = run("show", "0@0").output
    assert "00000000  78 79 7a" in shown
    assert "00000010  88 89" in shown
    assert "key         " in shown
    told = json_of(run, tmp_path, "show", "0@0")
    assert (told["value"], told["value_hex"]) == (None, bytes(range(0x78, 0x90)).hex())
    assert (told["key"], told["key_hex"]) == (None, None)


def test_a_letter_cannot_steer_the_terminal(run: Run, settings: Settings) -> None:
    hostile = "\x1b[2Jgone\x07\u202e\r"
    write(settings, letter("t", 5, hostile.encode(), key=hostile.encode(), detail=f"amount: {hostile}"))
    write_raw(settings, b"x", [("reason", hostile.encode()), (hostile, b"\x1b"), ("source_topic", b"\x1b]0;x\x07")])
    for arguments in (["list"], ["show", "0@0"], ["show", "1@0"]):
        shown = run(*arguments)
        assert shown.exit_code == 0, shown.output
        assert "gone" in shown.output
        assert not set("\x1b\x07\u202e\r") & set(shown.output)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("source_partition", b"one"), ("source_offset", "٣".encode())],
        [("source_partition", b"9" * 40), ("source_offset", b"-3"), ("cut_from_bytes", b"1e9")],
        [("reason", b"\xff"), ("reason", b"twice")],
    ],
)
def test_what_others_wrote_to_the_topic_is_listed_and_shown_too(
    run: Run, settings: Settings, tmp_path: Path, headers: list[tuple[str, bytes]]
) -> None:
    write_raw(settings, None, headers)
    (one,) = json_of(run, tmp_path, "list")["shown"]
    assert one["origin"] == f"/{NOWHERE}@{NOWHERE}"
    assert "value: none" in run("show", "1@0").output


def test_an_offset_without_a_letter_is_one_line(run: Run, settings: Settings) -> None:
    write(settings, letter("t", 5))
    for place in ("0@1", "7@0", "t/1@6"):
        assert_one_line(run("show", place), 1, place, "there is none", "dead-letters list")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--reason", "no_such_code"], ["no_such_code", "malformed_json"]),
        (["list", "--since", "yesterday"], ["2026-11-22T10:30Z", "yesterday"]),
        (["list", "--limit", "0"], ["--limit"]),
        (["show", "somewhere"], ["PARTITION@OFFSET", "somewhere"]),
        (["replay", "--since", "2 h"], ["2h"]),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_is_right(run: Run, arguments: list[str], words: list[str]) -> None:
    ended = run(*arguments)
    assert ended.exit_code == 2
    assert all(word in ended.stderr for word in words), ended.stderr


def test_each_subcommand_says_what_it_needs_without_a_broker(plain_environment: None) -> None:
    for arguments in (["list"], ["show", "0@0"], ["replay", "--yes"]):
        assert_one_line(CliRunner().invoke(main, ["dead-letters", *arguments]), 2, "KAFKA_SERVERS", "HOST:PORT")


def test_a_missing_topic_of_markers_is_named_before_anything_is_sent(run: Run, settings: Settings) -> None:
    write(settings, letter(settings.transactions_topic, 5))
    assert_one_line(run("replay", "--yes"), 1, f"{settings.app_id}-replayed", "topics create")
