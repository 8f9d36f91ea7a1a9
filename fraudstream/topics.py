"""What every Kafka topic of fraudstream is called and how it must be made; pure values, no client and no broker.

Whoever creates, checks, reads or writes a topic takes its name from here. Limits that the user may tune on a living
cluster (retention, segment size) are given to a topic when it is created and not checked afterwards; what would break
the promises of the worker (partitions, cleanup policy, room for a dead letter) is checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from fraudstream.errors import SettingsError
from fraudstream.settings import Settings

PROFILES_TABLE = "profiles"
"""The Faust table of profiles; its name is part of its changelog topic's name."""

DAY_MS = 86_400_000
TRANSACTIONS_RETENTION_MS = 7 * DAY_MS
"""A worker that was down for less than this misses nothing."""
LABELS_RETENTION_MS = 365 * DAY_MS
"""Labels are few and come late; whoever judges a model again wants a year of them."""
RESULTS_RETENTION_MS = 30 * DAY_MS
"""Verdicts, alerts and dead letters can be read again for this long."""
DEAD_LETTER_MAX_BYTES = 2 * 1024 * 1024
"""Twice what a broker takes by default: a message of 1 MiB still fits with its key, its headers and the framing."""
CHANGELOG_SEGMENT_BYTES = 64 * 1024 * 1024
"""The segment being written is never compacted, and a worker without a disk reads it whole: keep it small."""

_CLOCK = "message.timestamp.type"
BROKERS_CLOCK = {_CLOCK: "LogAppendTime"}
"""For what workers write: by default a broker refuses records of a machine whose clock is an hour ahead of its own."""

_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as fraudstream needs it.

    Attributes:
        replication: copies of each partition.
        config: topic settings in Kafka's own words, given at creation.
        outlives: a topic from which messages come with their time, so that they may be kept here no shorter.
    """

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)
    outlives: str | None = None


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as a broker describes it.

    Attributes:
        config: topic settings, or None where the broker does not tell them.
    """

    name: str
    partitions: int
    config: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """What is wrong with one topic, and how to mend it."""

    topic: str
    wrong: str
    mend: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.wrong}; {self.mend}"


def changelog_topic(settings: Settings) -> str:
    """The topic that holds every profile's latest state, named as Faust names the changelog of its table."""
    return f"{settings.app_id}-{PROFILES_TABLE}-changelog"


def rekeyed_topic(settings: Settings) -> str:
    """The topic on which KEYING=payload puts all transactions, keyed by their user_id."""
    return f"{settings.app_id}-rekeyed"


def rekeying_group(settings: Settings) -> str:
    """The consumer group whose offsets say how far the transactions are re-keyed; nobody joins it."""
    return f"{settings.app_id}-rekeying"


def judged_topic(settings: Settings) -> str:
    """The topic whose messages are judged, and whose partitions workers share out."""
    return rekeyed_topic(settings) if settings.keying == "payload" else settings.transactions_topic


def replayed_topic(settings: Settings) -> str:
    """The topic that says which dead letters were put back; written together with what was, so that none goes twice."""
    return f"{settings.app_id}-replayed"


def declared_topics(settings: Settings) -> tuple[TopicSpec, ...]:
    """Every topic that a process reads or writes: transactions, verdicts, alerts, dead-letters, labels, changelog,
    which dead letters were replayed, and with KEYING=payload what was re-keyed.

    All have the same number of partitions: what follows from a transaction goes to the partition of its number.

    Raises:
        SettingsError: two topics share a name, or Kafka does not take a name.
    """
    names = {
        "TRANSACTIONS_TOPIC": settings.transactions_topic,
        "VERDICTS_TOPIC": settings.verdicts_topic,
        "ALERTS_TOPIC": settings.alerts_topic,
        "DEAD_LETTERS_TOPIC": settings.dead_letters_topic,
        "LABELS_TOPIC": settings.labels_topic,
        "APP_ID (the changelog's name)": changelog_topic(settings),
        "APP_ID (the name of what was replayed)": replayed_topic(settings),
    }
    if settings.keying == "payload":
        names["APP_ID (the name of what was re-keyed)"] = rekeyed_topic(settings)
    _refuse_bad_names(names)
    results = {"retention.ms": str(RESULTS_RETENTION_MS), **BROKERS_CLOCK}
    return (
        _deleted(settings, settings.transactions_topic, {"retention.ms": str(TRANSACTIONS_RETENTION_MS)}),
        _deleted(settings, settings.verdicts_topic, results),
        _deleted(settings, settings.alerts_topic, results),
        _deleted(settings, settings.dead_letters_topic, results | {"max.message.bytes": str(DEAD_LETTER_MAX_BYTES)}),
        _deleted(settings, settings.labels_topic, {"retention.ms": str(LABELS_RETENTION_MS)}),
        _compacted(settings, changelog_topic(settings)),
        _compacted(settings, replayed_topic(settings)),
        *((_rekeyed(settings),) if settings.keying == "payload" else ()),
    )


def worker_topics(settings: Settings) -> tuple[TopicSpec, ...]:
    """Those without which a worker cannot judge: labels are the audit sink's alone, what was replayed a command's.

    Raises:
        SettingsError: as `declared_topics`.
    """
    others = {settings.labels_topic, replayed_topic(settings)}
    return tuple(_needed(spec) for spec in declared_topics(settings) if spec.name not in others)


def sink_topics(settings: Settings) -> tuple[TopicSpec, ...]:
    """Those without which the audit sink cannot store.

    Raises:
        SettingsError: as `declared_topics`.
    """
    return tuple(_needed(spec) for spec in declared_topics(settings) if spec.name != replayed_topic(settings))


def find_problems(specs: Iterable[TopicSpec], found: Mapping[str, FoundTopic]) -> list[TopicProblem]:
    """What keeps the worker from keeping its promises on these topics; empty when all is well."""
    problems: list[TopicProblem] = []
    for spec in specs:
        topic = found.get(spec.name)
        if topic is None:
            problems.append(TopicProblem(spec.name, "missing", "create it with `fraudstream topics create`"))
            continue
        if topic.partitions != spec.partitions:
            problems.append(_wrong_partitions(spec, topic.partitions))
        if topic.config is not None:
            problems += _wrong_config(spec, topic.config)
            problems += _kept_too_short(spec, topic.config, found)
    return problems


def added_partitions(topic: str, expected: int, found: int) -> TopicProblem:
    """What to say where a topic got more partitions while workers ran on it."""
    return TopicProblem(
        topic,
        f"expected {expected} partitions, found {found}: some were added",
        "users have moved to other partitions and left their profiles behind, so nothing is judged any more; stop what "
        "writes to it and move to topics made with the new number (docs/operations.md, Adding partitions)",
    )


def _needed(spec: TopicSpec) -> TopicSpec:
    """Without what is only better so: nobody is refused for it on topics that have always served."""
    return replace(spec, config={option: value for option, value in spec.config.items() if option != _CLOCK})


def _rekeyed(settings: Settings) -> TopicSpec:
    # A message grows by its key; what the topic of transactions takes must fit.
    config = {"retention.ms": str(TRANSACTIONS_RETENTION_MS), "max.message.bytes": str(DEAD_LETTER_MAX_BYTES)}
    return replace(_deleted(settings, rekeyed_topic(settings), config), outlives=settings.transactions_topic)


def _compacted(settings: Settings, name: str) -> TopicSpec:
    return _spec(
        settings, name, {"cleanup.policy": "compact", "segment.bytes": str(CHANGELOG_SEGMENT_BYTES), **BROKERS_CLOCK}
    )


def _deleted(settings: Settings, name: str, config: Mapping[str, str]) -> TopicSpec:
    return _spec(settings, name, {"cleanup.policy": "delete", **config})


def _spec(settings: Settings, name: str, config: Mapping[str, str]) -> TopicSpec:
    # With three copies a write waits for two of them: one broker may be lost without losing what was acknowledged.
    copies = settings.topic_replication
    in_sync = {"min.insync.replicas": str(max(1, copies - 1))}
    return TopicSpec(name, settings.topic_partitions, copies, {**config, **in_sync})


def _refuse_bad_names(names: Mapping[str, str]) -> None:
    for variable, name in names.items():
        if name in {".", ".."} or not _LEGAL_NAME.fullmatch(name):
            raise SettingsError(
                f"{variable}: expected a Kafka topic name (1 to 249 letters, digits, '.', '_' or '-'), got {name!r}"
            )
    for name, uses in Counter(names.values()).items():
        if uses > 1:
            shared = ", ".join(variable for variable, other in names.items() if other == name)
            raise SettingsError(f"{shared}: expected a topic of its own for each, got {name!r} for all of them")


def _kept_too_short(
    spec: TopicSpec, config: Mapping[str, str], found: Mapping[str, FoundTopic]
) -> Iterable[TopicProblem]:
    source = found.get(spec.outlives) if spec.outlives is not None else None
    if source is None or source.config is None:
        return
    kept, needed = config.get("retention.ms"), source.config.get("retention.ms")
    if kept is None or needed is None or kept == "-1" or 0 <= int(needed) <= int(kept):
        return
    yield TopicProblem(
        spec.name,
        f"expected retention.ms={needed} or longer, as of {source.name}, found {kept}: old messages would be deleted "
        "before they are judged",
        _alter(spec.name, f"retention.ms={needed}"),
    )


def _alter(name: str, assignment: str) -> str:
    return (
        f"run kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {assignment} "
        "with your --bootstrap-server"
    )


def _wrong_partitions(spec: TopicSpec, found: int) -> TopicProblem:
    return TopicProblem(
        spec.name,
        f"expected {spec.partitions} partitions, found {found}",
        "partitions of a keyed topic cannot be changed in place, because users would move to other partitions and "
        f"leave their profiles behind: set TOPIC_PARTITIONS={found} if all topics were made so; if partitions were "
        "added later, see docs/operations.md, Adding partitions; otherwise stop "
        "what writes to it, delete it (or name another topic) and run `fraudstream topics create`",
    )


def _wrong_config(spec: TopicSpec, found: Mapping[str, str]) -> list[TopicProblem]:
    wrong: list[tuple[str, str]] = []
    policy, limit = found.get("cleanup.policy"), found.get("max.message.bytes")
    wanted_policy, wanted_limit = spec.config.get("cleanup.policy"), spec.config.get("max.message.bytes")
    if policy is not None and wanted_policy is not None and policy != wanted_policy:
        wrong.append((f"expected cleanup.policy={wanted_policy}, found {policy}", f"cleanup.policy={wanted_policy}"))
    if limit is not None and wanted_limit is not None and int(limit) < int(wanted_limit):
        wrong.append(
            (f"expected max.message.bytes>={wanted_limit}, found {limit}", f"max.message.bytes={wanted_limit}")
        )
    clock, wanted_clock = found.get(_CLOCK), spec.config.get(_CLOCK)
    if clock is not None and wanted_clock is not None and clock != wanted_clock:
        text = f"expected {_CLOCK}={wanted_clock}, found {clock}, with which no worker may have its clock an hour ahead"
        wrong.append((text, f"{_CLOCK}={wanted_clock}"))
    return [TopicProblem(spec.name, text, _alter(spec.name, assignment)) for text, assignment in wrong]
