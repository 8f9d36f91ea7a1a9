"""What a case is, and the short list: each is a command that consumes one topic with a group of its own.

No case knows another. peer_cases.py and own_cases.py have the longer lists.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.checks import Found, Message
from fraudstream.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[1]
FAUST = str(Path(sys.executable).with_name("faust"))

FLOOR = "raw_aiokafka"
STOCK = "faust_pass_through"
STOCK_UVLOOP = "faust_pass_through_uvloop"
FULL_PATH = "full_path"

PARTITIONS = 4
WARM_UP_RECORDS = 2_000


def nothing() -> None:
    """For a case that needs no preparation."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to consume the records.

    Attributes:
        name: its key in the JSON result.
        title: what the table calls it.
        command: started in the checkout; reads its topic and group from the environment (`environment_of`).
        gives_verdicts: each record must have its verdict at the end, or the measurement is void.
        check: finds what is wrong with the values of the verdicts; empty where nothing is.
        commits: whether its progress is seen by committed offsets; else by the verdicts that it has written.
        environment: what it is told beyond `environment_of`.
        share: of the run's records; a slow case cannot take all of them, and a JVM needs more until it is warm.
        warm_up: records that are consumed before anything is measured.
        partitions: of its topics.
        processes: how many share the group.
        brokers: 1, which all cases share, or a cluster of so many for this case alone, each partition on all of them.
        users: whose payments they are: the records' users folded into so few; 0: as they come.
        slowest_per_s: events a second; what is slower than this is given up.
        prepare: fetches what the command needs, before anything is measured.
        note: what the page tells about it.
    """

    name: str
    title: str
    command: tuple[str, ...]
    gives_verdicts: bool = False
    check: Callable[[Sequence[Found], Sequence[Message]], str] | None = None
    commits: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0
    warm_up: int = WARM_UP_RECORDS
    partitions: int = PARTITIONS
    processes: int = 1
    brokers: int = 1
    users: int = 0
    slowest_per_s: float = 500.0
    prepare: Callable[[], None] = nothing
    note: str = ""


CASES = (
    Case(FLOOR, "raw aiokafka: `getmany`, msgspec decode", (sys.executable, "-m", "benchmarks.raw_consumer")),
    Case(
        STOCK,
        "Faust, stock pass-through",
        (FAUST, "-A", "benchmarks.pass_through", "worker", "-l", "info", "--without-web"),
        note="JSON values, every setting at its default, and an agent whose loop does nothing; it commits every 2.8 s.",
    ),
    Case(
        STOCK_UVLOOP,
        "Faust, stock pass-through on uvloop",
        (FAUST, "-L", "uvloop", "-A", "benchmarks.pass_through", "worker", "-l", "info", "--without-web"),
    ),
    Case(
        FULL_PATH,
        "**full path: decode, features, three models, verdicts, committed state**",
        (FAUST, "-A", "fraudstream.agents.app", "worker", "-l", "info"),
        gives_verdicts=True,
        note="the worker as users start it, every setting at its default.",
    ),
)
"""The short list, which takes minutes."""


def environment_of(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a case's process; the names are the worker's own settings, which every case understands."""
    return {
        **inherited,
        "KAFKA_SERVERS": settings.kafka_servers or "",
        "APP_ID": settings.app_id,
        "TRANSACTIONS_TOPIC": settings.transactions_topic,
        "VERDICTS_TOPIC": settings.verdicts_topic,
        "ALERTS_TOPIC": settings.alerts_topic,
        "DEAD_LETTERS_TOPIC": settings.dead_letters_topic,
        "TOPIC_PARTITIONS": str(settings.topic_partitions),
        "TOPIC_REPLICATION": str(settings.topic_replication),
        "DATA_DIR": str(settings.data_dir),
        "FAUST_DATADIR": str(settings.data_dir),
        "WEB_PORT": str(settings.web_port),
        "PYTHONUNBUFFERED": "1",
    }
