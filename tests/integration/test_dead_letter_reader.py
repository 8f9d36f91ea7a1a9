"""The dead letters of a real broker are read, each once, by a client that has just connected."""

from __future__ import annotations

import pytest

from fraudstream.adapters.dead_letter_reader import read_dead_letters
from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.errors import TopicError
from fraudstream.settings import Settings
from tests.checker import ordered_producer
from tests.servers.kafka import KafkaCluster

LETTERS = 40
HEADERS = [("reason", b"not_json"), ("source_topic", b"t"), ("source_partition", b"1"), ("source_offset", b"7")]


async def test_every_dead_letter_is_read(kafka: KafkaCluster, own_settings: Settings) -> None:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    await create_topics(settings, kafka.bootstrap)
    async with ordered_producer(kafka.bootstrap) as producer:
        for number in range(LETTERS):
            await producer.send_and_wait(settings.dead_letters_topic, b"%d" % number, key=b"k", headers=HEADERS)
    for _ in range(3):  # what a client knows at once is a matter of luck
        letters = [letter async for letter in read_dead_letters(settings, kafka.bootstrap)]
        assert [letter.value for letter in letters] == [b"%d" % number for number in range(LETTERS)]
        assert {(letter.reason, letter.topic, letter.partition, letter.offset) for letter in letters} == {
            ("not_json", "t", 1, 7)
        }


async def test_a_missing_topic_is_named(kafka: KafkaCluster, own_settings: Settings) -> None:
    settings = own_settings.model_copy(update={"kafka_servers": kafka.bootstrap})
    with pytest.raises(TopicError, match=f"topic {settings.dead_letters_topic}: expected it to exist"):
        [letter async for letter in read_dead_letters(settings, kafka.bootstrap)]
