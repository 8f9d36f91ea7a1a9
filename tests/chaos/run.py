"""Runs one scenario from empty topics to the judge's word."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from fraudstream.adapters.kafka_topics import create_topics
from fraudstream.settings import load_settings
from fraudstream.topics import changelog_topic, declared_topics
from fraudstream.training.history import History
from tests.chaos.bed import EXIT_FENCED, Bed
from tests.chaos.epochs import breaches, takeovers
from tests.chaos.judge import Judgement, judge
from tests.chaos.scenario import Scenario
from tests.chaos.source import Source
from tests.chaos.worker_faults import SESSION_TIMEOUT_S
from tests.servers.kafka import KafkaCluster
from tests.servers.line import Line

WARM_UP_S = 3.0
WIND_DOWN_S = 2.0
PARTITIONS = 4


@dataclass(slots=True)
class Report:
    """A scenario with what came of it.

    Attributes:
        exits: how often workers ended by themselves, by exit code.
        resumed_s: from the return of what was away until every partition had a verdict; None where nothing was away.
    """

    scenario: Scenario
    seed: int
    judgement: Judgement
    kills: int
    exits: dict[int, int]
    last_words: list[str]
    resumed_s: float | None
    took_s: float

    @property
    def problems(self) -> list[str]:
        """Every broken promise."""
        return self.judgement.problems


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scenario runs: brokers, the line to them where there is one, a directory for logs and disks."""

    cluster: KafkaCluster
    line: Line | None
    directory: Path


async def run(scenario: Scenario, place: Place, history: History, rate: float, seed: int) -> Report:
    """Breaks what the scenario breaks while transactions come at `rate` a second, then judges.

    Args:
        seed: of every random choice.
    """
    own = f"c{uuid.uuid4().hex[:8]}"
    settings = load_settings(
        app_id=own,
        kafka_servers=place.cluster.bootstrap,
        topic_partitions=PARTITIONS,
        topic_replication=scenario.brokers,
        **{"kafka_session_timeout_s": SESSION_TIMEOUT_S, **scenario.settings},
        **{f"{name}_topic": f"{own}-{name}" for name in ("transactions", "verdicts", "alerts", "labels")},
        dead_letters_topic=f"{own}-dead-letters",
    )
    started_s = time.monotonic()
    await create_topics(settings, place.cluster.bootstrap)
    source = Source(place.cluster.bootstrap, settings.transactions_topic, history, rate / scenario.slower)
    async with Bed(place.cluster, place.line, settings, source, random.Random(seed), place.directory) as bed:
        if scenario.prepare is not None:
            await scenario.prepare(bed)
        for _ in range(scenario.workers):
            bed.add_worker()
        await bed.until_shared()
        with source:
            await asyncio.sleep(WARM_UP_S)
            await scenario.script(bed)
            await asyncio.sleep(WIND_DOWN_S)
            assert not source.is_over, "the transactions were over before the scenario was"
        await bed.until_all_judged()
        await bed.until_shared()  # what has just started again has no handler for SIGTERM yet
        for worker in list(bed.running()):
            await bed.stop(worker)
        judgement = await asyncio.to_thread(judge, bed.reader, settings, source.sent, scenario.dead_letters)
    judgement.problems += source.failed
    own_topics = (settings.verdicts_topic, settings.alerts_topic, changelog_topic(settings))
    judgement.problems += breaches(place.cluster.data(), own_topics)
    judgement.takeovers = takeovers(place.cluster.data(), changelog_topic(settings))
    report = Report(
        scenario, seed, judgement, bed.kills, dict(bed.exits), bed.last_words, _resumed_s(bed, judgement),
        time.monotonic() - started_s,
    )  # fmt: skip
    _hold_to_limits(report)
    await asyncio.to_thread(bed.reader.delete, [topic.name for topic in declared_topics(settings)])
    return report


def _resumed_s(bed: Bed, judgement: Judgement) -> float | None:
    if "back" not in bed.marks_s:
        return None
    back_ms = bed.marks_s["back"] * 1000
    firsts = [min((at for at in times if at >= back_ms), default=float("inf")) for times in judgement.times_ms.values()]
    return max(max(firsts) - back_ms, 0) / 1000


def _hold_to_limits(report: Report) -> None:
    scenario, found = report.scenario, report.judgement
    if scenario.silence_s is not None and found.longest_silence_s > scenario.silence_s:
        found.problems.append(
            f"a partition was without a verdict for {found.longest_silence_s:.1f} s, "
            f"promised {scenario.silence_s:.0f} s"
        )
    if scenario.resumed_s is not None and (report.resumed_s is None or report.resumed_s > scenario.resumed_s):
        found.problems.append(f"judging resumed after {report.resumed_s} s, promised {scenario.resumed_s:.0f} s")
    unexpected = {code: count for code, count in report.exits.items() if not scenario.may_end and code != EXIT_FENCED}
    if unexpected:
        found.problems.append(f"workers ended by themselves: {unexpected}: {report.last_words}")
