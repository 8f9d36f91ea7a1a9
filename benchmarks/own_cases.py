"""fraudstream itself, with one thing changed in each case."""

from __future__ import annotations

from benchmarks.cases import FAUST, Case

WITHOUT_MODELS = "without_models"
TWO_WORKERS = "two_workers"
SHARE = 0.5
"""Enough to compare them with each other, and the whole run stays at about a quarter of an hour."""


def _worker(module: str = "fraudstream.agents.app") -> tuple[str, ...]:
    return (FAUST, "-A", module, "worker", "-l", "info")


def _every(interval_s: float, title: str) -> Case:
    return Case(
        f"checkpoint_{interval_s * 1000:.0f}_ms",
        f"fraudstream, a checkpoint every {title}",
        _worker("benchmarks.own.fixed_interval"),
        gives_verdicts=True,
        environment={"CHECKPOINT_INTERVAL_S": str(interval_s)},
        share=SHARE,
        note="under a backlog too, where the worker as it comes takes one second.",
    )


OWN_CASES = (
    Case(
        WITHOUT_MODELS,
        "fraudstream without models: decode, features, verdicts, committed state",
        _worker("benchmarks.own.without_models"),
        gives_verdicts=True,
        note="the full path with a scorer that finds nothing unusual in the place of the three models.",
    ),
    _every(0.05, "50 ms"),
    _every(0.25, "250 ms"),
    _every(1.0, "second"),
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
)
