"""Prometheus metrics of the audit sink; apart from the worker's, whose module brings the models."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class AuditMetrics:
    """The metrics of one sink, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = self._counter("fraudstream_audit_rows_total", "Verdicts stored with their evidence.")
        self.redelivered = self._counter("fraudstream_audit_redelivered_total", "Verdicts that were stored before.")
        self.duplicates = self._counter(
            "fraudstream_audit_duplicates_total", "Later verdicts on transactions that are stored; they change nothing."
        )
        self.refused = self._counter("fraudstream_audit_refused_total", "Messages that are no verdict with evidence.")
        self.failures = self._counter("fraudstream_audit_failures_total", "Batches that the database did not take.")
        self.batch_seconds = Histogram(
            "fraudstream_audit_batch_seconds", "Time to store one batch.", buckets=SECONDS, registry=self.registry
        )
        self.lag = self._gauge("fraudstream_audit_lag", "Offsets of the verdicts topic that are not stored yet.")
        self.partitions = self._gauge("fraudstream_audit_partitions", "Partitions of the verdicts topic owned.")
        self.ready = self._gauge("fraudstream_audit_ready", "1 when the sink stores.")

    def _counter(self, name: str, doc: str) -> Counter:
        return Counter(name, doc, registry=self.registry)

    def _gauge(self, name: str, doc: str) -> Gauge:
        return Gauge(name, doc, registry=self.registry)

    def observe_batch(self, stored: int, redelivered: int, duplicates: int, seconds: float) -> None:
        """Counts a batch that the database took."""
        self.rows.inc(stored)
        self.redelivered.inc(redelivered)
        self.duplicates.inc(duplicates)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
