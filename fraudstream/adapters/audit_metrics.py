"""Prometheus metrics of the audit sink: what each is fed with; names and words stand in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping

from fraudstream.adapters import metric_catalogue as catalogue
from fraudstream.adapters.instruments import CONTENT_TYPE, Instruments

__all__ = ["CONTENT_TYPE", "AuditMetrics"]


class AuditMetrics(Instruments):
    """The metrics of one sink."""

    def __init__(self) -> None:
        super().__init__(catalogue.SINK)
        self.rows = self.counter(catalogue.AUDIT_ROWS)
        self.redelivered = self.counter(catalogue.AUDIT_REDELIVERED)
        self.duplicates = self.counter(catalogue.AUDIT_DUPLICATES)
        self.failures = self.counter(catalogue.AUDIT_FAILURES)
        self.dead_letters = self.counter(catalogue.DEAD_LETTERS)
        self.batch_seconds = self.histogram(catalogue.AUDIT_BATCH)
        self.lag = self.gauge(catalogue.AUDIT_LAG)
        self.chain = self.gauge(catalogue.AUDIT_CHAIN)
        self.partitions = self.gauge(catalogue.AUDIT_PARTITIONS)
        self.ready = self.gauge(catalogue.AUDIT_READY)
        self.labels = self.counter(catalogue.LABELS)
        self.label_outcomes = self.counter(catalogue.LABEL_OUTCOMES)
        for result in catalogue.LABEL_RESULTS:
            self.labels.labels(result)  # 0 before the first, so that a ratio can be made of them
        for outcome in catalogue.OUTCOMES:
            self.label_outcomes.labels(outcome)
        self.labels_late = self.counter(catalogue.LABELS_LATE)
        self.label_delay = self.histogram(catalogue.LABEL_DELAY)

    def observe_batch(
        self, stored: int, redelivered: int, duplicates: int, seconds: float, ends: Mapping[int, int]
    ) -> None:
        """Counts a batch that the database took.

        Args:
            ends: last source offset of each source partition in it.
        """
        self.rows.inc(stored)
        self.redelivered.inc(redelivered)
        self.duplicates.inc(duplicates)
        self.batch_seconds.observe(seconds)
        for partition, offset in ends.items():
            self.chain.labels(str(partition)).set(offset)
