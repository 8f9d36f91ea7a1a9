"""Prometheus metrics of a worker or an API process: what each is fed with; names and words stand in the catalogue.

Light processes import this: no model, no pipeline and no PyTorch may enter.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable, Mapping
from typing import Literal

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fraudstream.adapters import metric_catalogue as catalogue
from fraudstream.adapters.instruments import CONTENT_TYPE, Instruments
from fraudstream.drift import Drift

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics(Instruments):
    """The metrics of one process.

    Args:
        process: what it is; an API process has no stream.
    """

    def __init__(self, process: Literal["worker", "api"] = "worker") -> None:
        super().__init__(process)
        self.http_requests = self.counter(catalogue.HTTP_REQUESTS)
        self.http_seconds = self.histogram(catalogue.HTTP_SECONDS)
        self.predict_seconds = self.histogram(catalogue.PREDICT)
        self.predict_rows = self.histogram(catalogue.PREDICT_ROWS_JUDGED)
        self.answers_repeated = self.counter(catalogue.ANSWERS_REPEATED)
        self.model_reloads = self.counter(catalogue.MODEL_RELOADS)
        self.model_reload_failures = self.counter(catalogue.MODEL_RELOAD_FAILURES)
        self.model = self.gauge(catalogue.MODEL)
        self.cache_failures = self.counter(catalogue.CACHE_FAILURES)
        for operation in ("read", "write"):
            self.cache_failures.labels(operation)  # 0 before the first failure, so that an alert can count from it
        self.cache_hits = self.counter(catalogue.CACHE_HITS)
        self.cache_misses = self.counter(catalogue.CACHE_MISSES)
        self.cache_fallbacks = self.counter(catalogue.CACHE_FALLBACKS)
        self.profile_age_seconds = self.histogram(catalogue.PROFILE_AGE)
        self.partitions = self.gauge(catalogue.PARTITIONS)
        self.ready = self.gauge(catalogue.READY)
        if process == catalogue.WORKER:
            self._add_stream()

    def _add_stream(self) -> None:
        self.transactions = self.counter(catalogue.TRANSACTIONS)
        self.rekeyed = self.counter(catalogue.REKEYED)
        self.verdicts = self.counter(catalogue.VERDICTS)
        self.alerts = self.counter(catalogue.ALERTS)
        self.late = self.counter(catalogue.LATE)
        self.duplicates = self.counter(catalogue.DUPLICATES)
        self.degraded = self.counter(catalogue.DEGRADED)
        self.dead_letters = self.counter(catalogue.DEAD_LETTERS)
        self.event_to_verdict = self.batch_histogram(catalogue.EVENT_TO_VERDICT)
        self.produce_to_verdict = self.batch_histogram(catalogue.PRODUCE_TO_VERDICT)
        self.produce_to_commit = self.batch_histogram(catalogue.PRODUCE_TO_COMMIT)
        self.batch_seconds = self.batch_histogram(catalogue.BATCH)
        self.batch_records = self.batch_histogram(catalogue.BATCH_SIZE)
        self.stage_seconds = self.batch_histogram(catalogue.STAGE, tuple(catalogue.STAGES))
        self.checkpoint_seconds = self.batch_histogram(catalogue.CHECKPOINT)
        self.lag = self.gauge(catalogue.LAG)
        self.lag_seconds = self.gauge(catalogue.LAG_SECONDS)
        self.restoring = self.gauge(catalogue.RESTORING)
        self.restored = self.gauge(catalogue.RESTORED)
        self.restore_total = self.gauge(catalogue.RESTORE_TOTAL)
        self.restore_seconds = self.gauge(catalogue.RESTORE_SECONDS)
        self.restore_left_seconds = self.gauge(catalogue.RESTORE_LEFT_SECONDS)
        self.store_memory = self.gauge(catalogue.STORE_MEMORY)
        self.stores_damaged = self.counter(catalogue.STORES_DAMAGED)
        self.cache_writes = self.counter(catalogue.CACHE_WRITES)
        self.cache_drops = self.counter(catalogue.CACHE_DROPS)
        self.cache_waiting = self.gauge(catalogue.CACHE_WAITING)
        self.sink_verdicts = self.counter(catalogue.SINK_VERDICTS)
        self.drift = DriftGauges()
        self.registry.register(self.drift)

    def count_dead_letters(self, reasons: Iterable[str]) -> None:
        """Counts refused messages by their reasons."""
        for reason, number in Counts(reasons).items():
            self.dead_letters.labels(reason).inc(number)

    def observe_store(self, memory_bytes: Mapping[str, int]) -> None:
        """Notes what RocksDB holds in memory, by its parts."""
        for part, held in memory_bytes.items():
            self.store_memory.labels(part).set(held)

    def observe_lag(self, records: Mapping[int, int], seconds: Mapping[int, float]) -> None:
        """Notes what waits in each owned partition; partitions that went away are forgotten."""
        self.lag.clear()
        self.lag_seconds.clear()
        for partition, waiting in records.items():
            self.lag.labels(str(partition)).set(waiting)
            self.lag_seconds.labels(str(partition)).set(seconds.get(partition, 0.0))

    def observe_model(self, version: str) -> None:
        """Notes which model is in use."""
        self.model.clear()
        self.model.labels(version).set(1)

    def observe_reload(self, version: str) -> None:
        """Counts a model that was taken up while running."""
        self.model_reloads.inc()
        self.observe_model(version)


class DriftGauges(Collector):
    """The drift of one worker, computed when it is asked for.

    Attributes:
        source: where it is measured; None: nobody measures it.
    """

    source: Drift | None = None

    def describe(self) -> Iterable[Metric]:
        """The families without samples, for the registry."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """The families with their samples, without any where too few rows came."""
        score, feature, rows = families = self._families()
        found = self.source.report() if self.source is not None else None
        rows.add_metric((), 0 if found is None else found.rows)
        if found is not None and found.score_psi is not None:
            score.add_metric((), found.score_psi)
            for name, psi in found.feature_psi.items():
                feature.add_metric((name,), psi)
        return families

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        score, feature, rows = (
            GaugeMetricFamily(metric.name, metric.doc, labels=metric.label_names)
            for metric in (catalogue.SCORE_PSI, catalogue.FEATURE_PSI, catalogue.DRIFT_ROWS)
        )
        return score, feature, rows
