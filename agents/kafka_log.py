"""What the Kafka clients log: each complaint once in a while, not two hundred times a second for a whole outage."""

from __future__ import annotations

import logging
import time
import traceback

import aiokafka
from aiokafka.errors import KafkaError

from fraudstream.adapters.kafka_client import is_collected

SAID_EVERY_S = 10.0
MOST_COMPLAINTS = 1_000


class OnceInAWhile(logging.Filter):
    """Lets a complaint pass if the same was not let pass lately; counts what it holds back."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if record.levelno < logging.WARNING or is_collected():
            return True
        complaint, now_s = (record.name, str(record.msg)), time.monotonic()
        passed_s, held_back = self._passed.get(complaint, (-SAID_EVERY_S, 0))
        if now_s - passed_s < SAID_EVERY_S:
            self._passed[complaint] = (passed_s, held_back + 1)
            return False
        if len(self._passed) >= MOST_COMPLAINTS:
            self._passed.clear()
        self._passed[complaint] = (now_s, 0)
        if held_back:
            record.msg, record.args = f"{record.getMessage()} (and {held_back} more like it)", ()
        return True


class NotOfTheClients(logging.Filter):
    """Holds back what asyncio says of futures of a Kafka client that failed: whoever let it go has told why."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        return not (
            record.exc_info
            and _is_of_a_client(record.exc_info[1])
            and record.getMessage().startswith("Future exception was never retrieved")
        )


def _is_of_a_client(error: BaseException | None) -> bool:
    """A connection that is reset fails a client's futures with the system's own error."""
    if not isinstance(error, ConnectionError):
        return isinstance(error, KafkaError)
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(module.split(".")[0] == aiokafka.__name__ for module in modules)


def install() -> None:
    """Quietens the loggers of aiokafka, which make themselves heard one by one."""
    once = OnceInAWhile()
    for name in sorted(logging.root.manager.loggerDict):
        if name.split(".")[0] == aiokafka.__name__:
            logging.getLogger(name).addFilter(once)
    logging.getLogger("asyncio").addFilter(NotOfTheClients())
