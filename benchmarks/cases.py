"""What is measured: each case is a command that consumes one topic with a group of its own; no case knows another."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fraudstream.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[1]
FAUST = str(Path(sys.executable).with_name("faust"))

FLOOR = "raw_aiokafka"
STOCK = "faust_pass_through"
STOCK_UVLOOP = "faust_pass_through_uvloop"
FULL_PATH = "full_path"


@dataclass(frozen=True, slots=True)
class Case:
    """One way to consume the records.

    Attributes:
        name: its key in the JSON result.
        title: what the table calls it.
        command: started in the checkout; reads its topic and group from the environment (`environment_of`).
        gives_verdicts: each record must have its verdict at the end, or the measurement is void.
    """

    name: str
    title: str
    command: tuple[str, ...]
    gives_verdicts: bool = False


CASES = (
    Case(FLOOR, "raw aiokafka: `getmany`, msgspec decode", (sys.executable, "-m", "benchmarks.raw_consumer")),
    Case(
        STOCK,
        "Faust, stock pass-through",
        (FAUST, "-A", "benchmarks.pass_through", "worker", "-l", "info", "--without-web"),
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
    ),
)


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
        "DATA_DIR": str(settings.data_dir),
        "FAUST_DATADIR": str(settings.data_dir),
        "WEB_PORT": str(settings.web_port),
        "PYTHONUNBUFFERED": "1",
    }
