"""Dead letters on a real broker: all are read; after a fix each goes back once, also where a replay is killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner
from click.testing import CliRunner, Result

from fraudstream.adapters import dead_letters as on_broker
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.agents.producers import DEAD_LETTER_VALUE_BYTES
from fraudstream.cli.main import main
from fraudstream.errors import Fenced, TopicError
from fraudstream.settings import Settings
from fraudstream.topics import replayed_topic
from tests.checker import end_offsets, read_topic, until
from tests.letters import letter, write_letters
from tests.servers.kafka import KafkaCluster
from tests.worker import environment

LETTERS = 40
MANY = 6_000
PARTITIONS = list(range(4))
_choose = DefaultPartitioner()


@pytest.fixture
async def settings(kafka: KafkaCluster, own_settings: Settings) -> Settings:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    await create_topics(settings, kafka.bootstrap)
    return settings


async def run(settings: Settings, *arguments: str) -> Result:
    environ = {name: text for name, text in environment(settings).items() if name.lower() in Settings.model_fields}
    return await asyncio.to_thread(CliRunner().invoke, main, ["dead-letters", *arguments], env=environ)


async def plan_all(settings: Settings) -> on_broker.ReplayPlan:
    return await on_broker.plan_replay(settings, str(settings.kafka_servers), lambda _: True)


async def replay_all(settings: Settings) -> int:
    return await on_broker.replay(settings, str(settings.kafka_servers), await plan_all(settings), lambda _: None)


async def records(settings: Settings, topic: str, least: int = 0) -> list[Any]:
    """Those of a topic, as soon as there are so many: a commit is answered a moment before readers see it."""
    found: list[Any] = []

    async def are_there() -> bool:
        found[:] = await read_topic(str(settings.kafka_servers), topic)
        return len(found) >= least

    await until(are_there, 20, f"{least} records in {topic}")
    return found


async def test_every_dead_letter_is_read(kafka: KafkaCluster, settings: Settings) -> None:
    await write_letters(kafka.bootstrap, settings, [letter("t", at, b"%d" % at) for at in range(LETTERS)])
    for _ in range(3):  # what a client knows at once is a matter of luck
        letters = [kept.letter async for kept in on_broker.read_dead_letters(settings, kafka.bootstrap)]
        assert letters == [letter("t", at, b"%d" % at) for at in range(LETTERS)]


async def test_a_missing_topic_is_named(kafka: KafkaCluster, own_settings: Settings) -> None:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    with pytest.raises(TopicError, match=f"topic {settings.dead_letters_topic}: expected it to exist"):
        [kept async for kept in on_broker.read_dead_letters(settings, kafka.bootstrap)]


async def test_the_original_bytes_go_back_once_to_the_topic_and_partition_they_belong_to(
    kafka: KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    transactions = [
        letter(settings.transactions_topic, at, bytes([at, 0xFF]), key=b"u%d" % at, reason="absurd_time")
        for at in range(LETTERS)
    ]
    label = letter(settings.labels_topic, 3, b"a label", key=b"u1", reason="absurd_time")
    other = letter(settings.transactions_topic, 4, b"not wanted", reason="malformed_json")
    await write_letters(kafka.bootstrap, settings, [*transactions, label, other])

    out = tmp_path / "out.json"
    options = ("replay", "--reason", "absurd_time", "--json", str(out))
    dry = await run(settings, *options, "--dry-run")
    assert dry.exit_code == 0, dry.output
    refused = await run(settings, *options)  # nobody answers the question
    assert refused.exit_code == 1
    assert "put 41 messages back?" in refused.output
    assert await records(settings, settings.transactions_topic) == []

    ended = await run(settings, *options, "--yes")
    assert ended.exit_code == 0, ended.output
    assert "41 messages were put back" in ended.output
    assert json.loads(out.read_text())["replayed"] == LETTERS + 1
    back = {one.value: one for one in await records(settings, settings.transactions_topic, LETTERS)}
    assert back.keys() == {one.value for one in transactions}
    written_ms = {one.place: one.time_ms async for one in on_broker.read_dead_letters(settings, kafka.bootstrap)}
    for at, one in enumerate(transactions):
        record = back[one.value or b""]
        assert (record.key, record.timestamp) == (one.key, written_ms[f"{settings.dead_letters_topic}/0@{at}"])
        assert record.headers == (("replayed_from", f"{settings.dead_letters_topic}/0@{at}".encode()),)
        assert record.partition == _choose(one.key, PARTITIONS, PARTITIONS)
    assert [one.value for one in await records(settings, settings.labels_topic, 1)] == [b"a label"]

    again = await run(settings, *options, "--yes")
    assert again.exit_code == 0, again.output
    assert "0 to put back, 41 were put back before" in again.output
    assert len(await records(settings, settings.transactions_topic, LETTERS)) == LETTERS


async def test_a_replay_that_is_killed_half_way_is_ended_by_the_next_one_and_nothing_goes_twice(
    kafka: KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    await write_letters(
        kafka.bootstrap,
        settings,
        [letter(settings.transactions_topic, at, b"%d" % at, key=b"u%d" % (at % 50)) for at in range(MANY)],
    )
    kills = 0
    for most in (MANY // 8, MANY // 3):
        command = [str(Path(sys.executable).with_name("fraudstream")), "dead-letters", "replay", "--yes"]
        process = _start(command, settings, tmp_path / "log")

        async def is_under_way(process: subprocess.Popen[bytes] = process, most: int = most) -> bool:
            written = sum((await end_offsets(kafka.bootstrap, settings.transactions_topic)).values())
            return written >= most or process.poll() is not None

        await until(is_under_way, 60, "a replay under way")
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills, "both replays had ended before they could be killed"
    before = len(await records(settings, settings.transactions_topic))
    ended = await run(settings, "replay", "--yes")
    assert ended.exit_code == 0, ended.output
    back = await records(settings, settings.transactions_topic, MANY)
    after = Counter(one.value for one in back)
    print(f"{kills} replays killed, {before} of {MANY} were back by then")
    assert after == Counter(b"%d" % at for at in range(MANY))
    assert before < MANY, "the kills came too late to hit a replay"
    for number in PARTITIONS:
        numbers = [int(one.value) for one in back if one.partition == number]
        by_user: dict[int, list[int]] = {}
        for value in numbers:
            by_user.setdefault(value % 50, []).append(value)
        assert all(values == sorted(values) for values in by_user.values()), "a user's messages changed their order"


async def test_a_second_replay_ends_the_first_one_and_nothing_goes_twice(
    kafka: KafkaCluster, settings: Settings
) -> None:
    letters = [letter(settings.transactions_topic, at, b"%d" % at) for at in range(1200)]
    await write_letters(kafka.bootstrap, settings, letters)
    plan, second = await plan_all(settings), list[int]()

    def run_another(_done: int) -> None:  # while the first one waits
        thread = threading.Thread(target=lambda: second.append(asyncio.run(replay_all(settings))))
        thread.start()
        thread.join()

    with pytest.raises(Fenced, match="another replay of dead letters has begun"):
        await on_broker.replay(settings, kafka.bootstrap, plan, run_another)
    assert second == [1200 - on_broker.LETTERS_PER_COMMIT]
    values = Counter(one.value for one in await records(settings, settings.transactions_topic, 1200))
    assert values == Counter(b"%d" % at for at in range(1200))


async def test_a_letter_that_was_cut_goes_back_whole_or_not_at_all(kafka: KafkaCluster, settings: Settings) -> None:
    whole = b'{"note": "' + b"x" * (DEAD_LETTER_VALUE_BYTES + 5)
    large = settings.model_copy(update={"transactions_topic": f"{settings.transactions_topic}-large"})
    await _make_topic(kafka.bootstrap, large.transactions_topic, {"max.message.bytes": str(2**22)})
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2**23) as producer:
        where = await producer.send_and_wait(large.transactions_topic, whole, key=b"u", partition=0)
    kept = letter(large.transactions_topic, where.offset, whole)
    there = type(kept)(kept.topic, 0, kept.offset, kept.key, kept.value, kept.reason, kept.detail)
    gone = type(kept)(kept.topic, 0, kept.offset + 7, kept.key, kept.value, kept.reason, kept.detail)
    other = type(kept)(kept.topic, 0, kept.offset, kept.key, whole + b"y", kept.reason, kept.detail)
    await write_letters(kafka.bootstrap, large, [there, gone, other])

    plan = await plan_all(large)
    assert sorted(plan.refused) == [f"{large.dead_letters_topic}/0@{at}" for at in (1, 2)]
    assert all("its original at" in why and why.endswith("is gone") for why in plan.refused.values())
    ended = await run(large, "replay", "--yes")
    assert ended.exit_code == 1, ended.output
    assert "1 messages were put back" in ended.output
    found = [one for one in await records(large, large.transactions_topic, 2) if one.headers]
    assert [one.value for one in found] == [whole]


async def test_what_cannot_be_put_back_safely_is_refused_with_its_reason(
    kafka: KafkaCluster, settings: Settings
) -> None:
    short = settings.model_copy(update={"labels_topic": f"{settings.labels_topic}-short"})
    await _make_topic(kafka.bootstrap, short.labels_topic, {"retention.ms": "1"})
    await write_letters(kafka.bootstrap, settings, [letter(short.labels_topic, 0)])
    odd = [
        letter(settings.verdicts_topic, 1),
        letter("elsewhere", 2),
        letter(settings.transactions_topic, 3, b"x" * 1_048_400),
        letter(settings.transactions_topic, 4, None, key=None),
        letter(settings.transactions_topic, -5),
    ]
    await write_letters(kafka.bootstrap, settings, odd)
    plan = await plan_all(short)
    assert not plan.ready
    said = [plan.refused[f"{settings.dead_letters_topic}/0@{at}"] for at in range(6)]
    wanted = (
        "retention.ms", f"came from {settings.verdicts_topic}", "came from elsewhere", "max.message.bytes",
        "neither key nor value", "do not say where it came from",
    )  # fmt: skip
    assert all(words in text for words, text in zip(wanted, said, strict=True)), said


async def test_a_letter_in_the_place_of_an_earlier_one_is_another_letter(
    kafka: KafkaCluster, settings: Settings
) -> None:
    await write_letters(kafka.bootstrap, settings, [letter(settings.transactions_topic, 0)])
    assert await replay_all(settings) == 1
    await _delete_topic(kafka.bootstrap, settings.dead_letters_topic)
    await create_topics(settings, kafka.bootstrap)
    await write_letters(kafka.bootstrap, settings, [letter(settings.transactions_topic, 9)])
    assert await replay_all(settings) == 1
    assert await replay_all(settings) == 0
    assert len(await records(settings, replayed_topic(settings), 2)) == 2


async def test_letters_of_an_open_or_aborted_transaction_are_not_there_yet(
    kafka: KafkaCluster, settings: Settings
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=settings.app_id) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(settings.dead_letters_topic, b"{", key=b"k")
        assert [kept async for kept in on_broker.read_dead_letters(settings, kafka.bootstrap)] == []
        await producer.abort_transaction()
    assert [kept async for kept in on_broker.read_dead_letters(settings, kafka.bootstrap)] == []


def _start(command: list[str], settings: Settings, log_file: Path) -> subprocess.Popen[bytes]:
    with log_file.open("ab") as log:
        return subprocess.Popen(command, env=environment(settings), stdout=log, stderr=log)


async def _make_topic(bootstrap: str, name: str, config: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 4, 1, topic_configs=config)])

        async def is_there() -> bool:  # the broker answers before all of it knows
            return name in await admin.list_topics()

        await until(is_there, 20, "the topic")
    finally:
        await admin.close()


async def _delete_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([name])

        async def is_gone() -> bool:
            return name not in await admin.list_topics()

        await until(is_gone, 20, "no such topic")
    finally:
        await admin.close()
