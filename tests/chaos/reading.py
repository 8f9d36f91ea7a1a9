"""What a reader of each isolation level is given, by librdkafka."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

Isolation = Literal["read_committed", "read_uncommitted"]

ANSWER_WITHIN_S = 30.0
SILENT_AFTER_S = 40.0
"""Longer than a transaction of a dead worker may keep readers waiting."""
RECORDS_AT_ONCE = 10_000
CONSUME_S = 0.1


class Unreadable(AssertionError):
    """A reader cannot get to the end of a topic."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads whole topics of one cluster."""

    bootstrap: str

    def read(self, topic: str, isolation: Isolation) -> Iterator[Any]:
        """All records of a topic up to its end as it is now.

        Raises:
            Unreadable: a transaction stays open, or nothing comes.
        """
        consumer = self._consumer(isolation)
        try:
            ends = {
                number: consumer.get_watermark_offsets(TopicPartition(topic, number), ANSWER_WITHIN_S)[1]
                for number in self.partitions(topic)
            }
            waiting = {number for number, end in ends.items() if end > 0}
            consumer.assign([TopicPartition(topic, number, 0) for number in waiting])
            heard_s = time.monotonic()
            while waiting:
                for record in consumer.consume(RECORDS_AT_ONCE, CONSUME_S):
                    error, partition, offset = record.error(), record.partition() or 0, record.offset() or 0
                    if error is None:
                        heard_s = time.monotonic()
                        yield record
                    elif error.code() == KafkaError._PARTITION_EOF:
                        # For read_committed this is where the oldest open transaction begins.
                        if offset >= ends[partition]:
                            waiting.discard(partition)
                    elif not error.retriable():
                        raise Unreadable(f"{topic}: {error}")
                if time.monotonic() - heard_s > SILENT_AFTER_S:
                    raise Unreadable(f"{topic}: a {isolation} reader waits before the end of partitions {waiting}")
        finally:
            consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """The numbers of a topic's partitions."""
        return sorted(self._admin().list_topics(topic, ANSWER_WITHIN_S).topics[topic].partitions)

    def leaders(self, topic: str) -> dict[int, int]:
        """Which broker leads each partition of a topic."""
        found = self._admin().list_topics(topic, ANSWER_WITHIN_S).topics[topic].partitions
        return {number: partition.leader for number, partition in found.items()}

    def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        """Where a group goes on, 0 where it has committed nothing."""
        consumer = self._consumer("read_committed", group)
        try:
            asked = [TopicPartition(topic, number) for number in range(partitions)]
            return {each.partition: max(each.offset, 0) for each in consumer.committed(asked, ANSWER_WITHIN_S)}
        finally:
            consumer.close()

    def delete(self, topics: list[str]) -> None:
        """Removes topics: what one scenario wrote is not kept for the next."""
        admin = self._admin()  # its answers die with it
        for deleted in admin.delete_topics(topics).values():
            deleted.result(ANSWER_WITHIN_S)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def _consumer(self, isolation: Isolation, group: str = "judge") -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 100,
                "log_level": 0,
            }
        )
