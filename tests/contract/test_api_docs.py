"""docs/api.md is true: its commands are run as they stand there, and it names every error and every limit."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from fraudstream.detector import load_detector
from fraudstream.pipeline import process
from fraudstream.settings import Settings, load_settings
from fraudstream.web.body import BODY_WITHIN_S
from fraudstream.web.predict import MAX_TIMEOUT_MS
from fraudstream.web.problems import KINDS
from fraudstream.web.schema import MAX_BATCH, NEWEST_EVENTS
from fraudstream.web.service import StreamRecord
from tests.http_service import EXAMPLE, Client, Process, Profiles, Reply

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.usefixtures("plain_environment")


class Taking:
    """A broker that takes everything."""

    async def record(self, records: Sequence[StreamRecord]) -> list[str | None]:
        return [None] * len(records)


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("curl ")]


async def curl(client: Client, words: list[str]) -> Reply:
    """Does what curl would do."""
    method, body, headers, address = "GET", None, {}, None
    given = iter(words[1:])
    for word in given:
        match word:
            case "-X":
                method = next(given)
            case "-d":
                body = next(given).encode()
            case "-H":
                name, _, value = next(given).partition(": ")
                headers[name] = value
            case "-sS":
                pass
            case _:
                address = urlsplit(word)
    assert address is not None
    assert address.netloc == "127.0.0.1:8000"
    path = address.path + (f"?{address.query}" if address.query else "")
    return await client.call(method, path, body, headers)


async def test_the_commands_of_the_page_work() -> None:
    detector = load_detector(Settings.model_construct())

    class Source:
        topic, partition, offset, timestamp, key = "", 0, 0, 1_750_000_000_000, b"user_123"
        value = json.dumps(EXAMPLE).encode()

    record = process(detector, [Source()], lambda _partition, _key: b"").profiles[0, b"user_123"]
    asked = commands()
    assert len(asked) == 7
    for settings, shown in (
        (load_settings(), [words for words in asked if not any("X-API-Key" in word for word in words)]),
        (load_settings(api_keys=SecretStr("KEY")), [words for words in asked if "X-API-Key: KEY" in words]),
    ):
        service = Process(settings, detector, Profiles({b"user_123": record}), Taking())
        async with Client(service) as client:
            assert shown
            for words in shown:
                reply = await curl(client, words)
                assert reply.status == 200, (words, reply.body)


@pytest.mark.parametrize("reason", KINDS)
def test_the_page_names_every_error(reason: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| {int(KINDS[reason].status)} |")]
    assert any(f"`{reason}`" in row for row in rows), reason


def test_the_page_names_no_error_that_is_none() -> None:
    named = {
        code for row in re.findall(r"^\| \d{3} \| (.*?) \|", PAGE, re.MULTILINE) for code in re.findall("`(.*?)`", row)
    }
    assert named == set(KINDS)


def test_the_page_tells_the_limits_as_they_are() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    for text in (
        f"MAX_BODY_BYTES, {defaults['max_body_bytes']:,}",
        f"MAX_BATCH_BODY_BYTES, {defaults['max_batch_body_bytes']:,}; 1 to {MAX_BATCH} transactions",
        f"ANSWER_TTL_S ({defaults['answer_ttl_s']:.0f} s)",
        f"ANSWERS_KEPT ({defaults['answers_kept']:,})",
        f"RECORD_TIMEOUT_S ({defaults['record_timeout_s']:.0f} s)",
        f"DRAIN_S ({defaults['drain_s']:.0f} s)",
        f"{defaults['liveness_stall_s']:.0f} s is LIVENESS_STALL_S",
        f"1 to {MAX_TIMEOUT_MS}",
        f"the whole body within {BODY_WITHIN_S:.0f} s",
        f"the newest {NEWEST_EVENTS} payments",
    ):
        assert text in PAGE, text
