"""Prometheus metrics of a worker: every name once, counted per batch so that an event costs next to nothing."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fraudstream.features.engine import DUPLICATE, LATE
from fraudstream.pipeline import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
AGE_SECONDS = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0, 604_800.0, 2_592_000.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.verdicts = self._counter("fraudstream_verdicts_total", "Verdicts sent.")
        self.alerts = self._counter("fraudstream_alerts_total", "Verdicts that were flagged.")
        self.late = self._counter("fraudstream_late_total", "Transactions later than the declared lateness.")
        self.duplicates = self._counter("fraudstream_duplicates_total", "Transactions that were seen before.")
        self.degraded = self._counter("fraudstream_degraded_total", "Verdicts without one of the models or features.")
        self.dead_letters = Counter(
            "fraudstream_dead_letters_total", "Messages refused.", ["reason"], registry=self.registry
        )
        self.batch_seconds = self._histogram("fraudstream_batch_seconds", "Time to judge and send one micro-batch.")
        self.checkpoint_seconds = self._histogram("fraudstream_checkpoint_seconds", "Time from checkpoint to commit.")
        self.predict_seconds = self._histogram("fraudstream_predict_seconds", "Time to answer POST /predict.")
        self.predict_rows = Histogram(
            "fraudstream_predict_rows",
            "Questions to /predict that were judged as one block.",
            buckets=ROWS,
            registry=self.registry,
        )
        self.answers_repeated = self._counter(
            "fraudstream_answers_repeated_total", "Questions that were answered before and got the same answer or 409."
        )
        self.http_requests = Counter(
            "fraudstream_http_requests_total", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.model_reloads = self._counter("fraudstream_model_reloads_total", "Promoted models taken up while running.")
        self.model_reload_failures = self._counter(
            "fraudstream_model_reload_failures_total", "Promoted models that could not be loaded; the old one goes on."
        )
        self.model = Gauge(
            "fraudstream_model_info",
            "1 for the version of the model in use.",
            ["model_version"],
            registry=self.registry,
        )
        self.cache_writes = self._counter("fraudstream_cache_writes_total", "Copies of profiles left in the cache.")
        self.cache_drops = self._counter(
            "fraudstream_cache_drops_total", "Copies dropped before the cache took them; they are written again later."
        )
        self.cache_failures = Counter(
            "fraudstream_cache_failures_total",
            "Calls to the cache that failed.",
            ["operation"],
            registry=self.registry,
        )
        for operation in ("read", "write"):
            self.cache_failures.labels(operation)  # 0 before the first failure, so that an alert can count from it
        self.cache_hits = self._counter("fraudstream_cache_hits_total", "Users found in the cache.")
        self.cache_misses = self._counter("fraudstream_cache_misses_total", "Users not found in the cache.")
        self.cache_fallbacks = self._counter(
            "fraudstream_cache_fallbacks_total", "Users judged as unknown because nobody could be asked."
        )
        self.cache_waiting = Gauge(
            "fraudstream_cache_waiting", "Changed profiles that the cache does not have yet.", registry=self.registry
        )
        self.profile_age_seconds = Histogram(
            "fraudstream_profile_age_seconds",
            "Time since the profile that was judged by was written to the cache.",
            buckets=AGE_SECONDS,
            registry=self.registry,
        )
        self.sink_verdicts = Counter(
            "fraudstream_sink_verdicts_total",
            "Committed verdicts for each sink: delivered, dropped (its queue was full) or failed (it raised).",
            ["sink", "outcome"],
            registry=self.registry,
        )
        self.partitions = Gauge("fraudstream_partitions", "Source partitions owned.", registry=self.registry)
        self.ready = Gauge("fraudstream_ready", "1 when the worker is ready.", registry=self.registry)

    def _counter(self, name: str, doc: str) -> Counter:
        return Counter(name, doc, registry=self.registry)

    def _histogram(self, name: str, doc: str) -> Histogram:
        return Histogram(name, doc, buckets=SECONDS, registry=self.registry)

    def observe_batch(self, outcome: Outcome, seconds: float) -> None:
        """Counts a micro-batch."""
        self.batch_seconds.observe(seconds)
        self.verdicts.inc(len(outcome.verdicts))
        self.alerts.inc(sum(verdict.flagged for verdict in outcome.verdicts))
        for letter in outcome.dead_letters:
            self.dead_letters.labels(letter.reason).inc()
        if outcome.computed is not None:
            self.late.inc(int((outcome.computed.status == LATE).sum()))
            self.duplicates.inc(int((outcome.computed.status == DUPLICATE).sum()))
        scores, computed = outcome.scores, outcome.computed
        if scores is not None and computed is not None and (scores.degraded or computed.failed):
            rows = range(len(outcome.verdicts))
            self.degraded.inc(sum(bool(scores.degraded_of(row) or computed.failed_of(row)) for row in rows))

    def observe_checkpoint(self, seconds: float) -> None:
        """Notes how long a checkpoint took."""
        self.checkpoint_seconds.observe(seconds)

    def observe_model(self, version: str) -> None:
        """Notes which model is in use."""
        self.model.clear()
        self.model.labels(version).set(1)

    def observe_reload(self, version: str) -> None:
        """Counts a model that was taken up while running."""
        self.model_reloads.inc()
        self.observe_model(version)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
