"""fraudstream itself, with one thing changed in each case."""

from __future__ import annotations

from functools import partial

from benchmarks import ring_size
from benchmarks.cases import FAUST, Case

WITHOUT_MODELS = "without_models"
TWO_WORKERS = "two_workers"
THREE_BROKERS = "three_brokers"
INTERVALS_S = (0.05, 0.25, 1.0)
RING_SIZES = (64, 256, 512)
RING_USERS = 50
RING_SHARE = 0.25
CONTAMINATION_OF_1_PERCENT = 0.0115
"""Above the score that this share of the training traffic exceeds lies 1 % of the first 200,000 rows of sparkov_a."""
SHARE = 0.5
"""Enough to compare them with each other, and the whole run stays at about a quarter of an hour."""


def _worker(module: str = "fraudstream.agents.app") -> tuple[str, ...]:
    return (FAUST, "-A", module, "worker", "-l", "info")


def name_of_interval(interval_s: float) -> str:
    """The case with a checkpoint so often."""
    return f"checkpoint_{interval_s * 1000:.0f}_ms"


def _every(interval_s: float, title: str) -> Case:
    return Case(
        name_of_interval(interval_s),
        f"fraudstream, a checkpoint every {title}",
        _worker("benchmarks.own.fixed_interval"),
        gives_verdicts=True,
        environment={"CHECKPOINT_INTERVAL_S": str(interval_s)},
        share=SHARE,
        note="under a backlog too, where the worker as it comes takes one second.",
    )


def _ring(events: int) -> Case:
    return Case(
        f"ring_{events}",
        f"fraudstream, {RING_USERS} busy users, profiles of at most {events} payments",
        _worker("benchmarks.own.ring_size"),
        gives_verdicts=True,
        environment={ring_size.VARIABLE: str(events), "NUMBA_CACHE_DIR": str(ring_size.cache_of(events))},
        share=RING_SHARE,
        users=RING_USERS,
        slowest_per_s=200.0,
        prepare=partial(ring_size.compile_kernels, events),
        note=f"payments as everywhere, but of {RING_USERS} users: most profiles are full, which the data's own "
        "916 users never fill (75 payments in the mean, 183 at most).",
    )


OWN_CASES = (
    Case(
        WITHOUT_MODELS,
        "fraudstream without models: decode, features, verdicts, committed state",
        _worker("benchmarks.own.without_models"),
        gives_verdicts=True,
        note="the full path with a scorer that finds nothing unusual in the place of the three models.",
    ),
    *(_every(interval_s, title) for interval_s, title in zip(INTERVALS_S, ("50 ms", "250 ms", "second"), strict=True)),
    Case("partitions_1", "fraudstream, 1 partition", _worker(), gives_verdicts=True, partitions=1, share=SHARE),
    Case("partitions_2", "fraudstream, 2 partitions", _worker(), gives_verdicts=True, partitions=2, share=SHARE),
    Case(
        TWO_WORKERS,
        "fraudstream, 2 workers of 2 partitions each",
        _worker(),
        gives_verdicts=True,
        processes=2,
        share=SHARE,
        note="CPU is that of both; they share the machine's cores with the broker.",
    ),
    Case(
        "alerts_on_all",
        "fraudstream, an alert for every verdict",
        _worker(),
        gives_verdicts=True,
        environment={"ALERT_ON_ALL": "true"},
        share=SHARE,
    ),
    Case(
        "alerts_1_percent",
        "fraudstream, 1 % of the verdicts are alerts",
        _worker(),
        gives_verdicts=True,
        environment={"CONTAMINATION": str(CONTAMINATION_OF_1_PERCENT)},
        share=SHARE,
        note=f"CONTAMINATION={CONTAMINATION_OF_1_PERCENT:g}, a share of the packaged model's training traffic; what it "
        "flags of these records is in the table of what was written.",
    ),
    *(_ring(events) for events in RING_SIZES),
    Case(
        THREE_BROKERS,
        "fraudstream, 3 brokers with a copy each",
        _worker(),
        gives_verdicts=True,
        brokers=3,
        share=SHARE,
        warm_up=50_000,
        note="all three on this machine, for the sum of their CPU and of what they write; they are new in each round, "
        "so their JITs get 50,000 records to compile with.",
    ),
)
