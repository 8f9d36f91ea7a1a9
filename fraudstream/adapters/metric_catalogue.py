"""The metrics, each once: name, kind, meaning, labels, limits of its buckets, and which processes have it.

Names follow Prometheus: base units, `_total` for counters. A label has few values: nothing that comes with a
transaction ever becomes one. docs/metrics.md is made from this list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

WORKER, API, SINK = "worker", "api", "sink"
ALL = (WORKER, API, SINK)

QUICK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
STREAM_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
STORE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
AGE_SECONDS = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0, 604_800.0, 2_592_000.0)
BATCH_RECORDS = (1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
PREDICT_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as Prometheus stores it; a histogram's series add _bucket, _sum and _count.
        doc: its help, one sentence.
        topic: the heading under which the page lists it.
        processes: which of WORKER, API and SINK have it.
        labels: each with what its values are.
        buckets: upper limits of a histogram, in the name's unit, without +Inf.
    """

    name: str
    kind: Kind
    doc: str
    topic: str
    processes: tuple[str, ...]
    labels: tuple[tuple[str, str], ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels without their meaning."""
        return tuple(name for name, _ in self.labels)


PARTITION = ("partition", "number of the partition")

_STREAM, _LATENCY, _LAG, _RESTORE = "Stream", "Latency", "Lag", "Restoring profiles"
_MODEL, _LABELS, _CACHE, _AUDIT = "Model and drift", "Labels", "Copies of profiles", "Audit sink"
_HTTP, _PROCESS = "HTTP", "Process"

# Stream

TRANSACTIONS = Metric(
    "fraudstream_transactions_total",
    "counter",
    "Messages of the transactions topic that were taken up, those refused later among them.",
    _STREAM,
    (WORKER,),
)
REKEYED = Metric(
    "fraudstream_rekeyed_total",
    "counter",
    "Messages that were keyed anew by their user_id, with KEYING=payload.",
    _STREAM,
    (WORKER,),
)
VERDICTS = Metric("fraudstream_verdicts_total", "counter", "Verdicts sent.", _STREAM, (WORKER,))
ALERTS = Metric(
    "fraudstream_alerts_total",
    "counter",
    "Verdicts that were flagged, by what leads their reasons.",
    _STREAM,
    (WORKER,),
    (("anomaly_type", "a reason code of docs/reasons.md"),),
)
LATE = Metric("fraudstream_late_total", "counter", "Transactions later than ALLOWED_LATENESS_S.", _STREAM, (WORKER,))
DUPLICATES = Metric(
    "fraudstream_duplicates_total", "counter", "Transactions that were seen before.", _STREAM, (WORKER,)
)
DEGRADED = Metric(
    "fraudstream_degraded_total",
    "counter",
    "Verdicts made without a part that failed; one without two parts counts for each.",
    _STREAM,
    (WORKER,),
    (("part", "forest, autoencoder, lstm, or the name of a feature or part of your own"),),
)
DEAD_LETTERS = Metric(
    "fraudstream_dead_letters_total",
    "counter",
    "Messages refused and sent to the dead letters.",
    _STREAM,
    (WORKER, SINK),
    (("reason", "why, as in the dead letter's header"),),
)
SINK_VERDICTS = Metric(
    "fraudstream_sink_verdicts_total",
    "counter",
    "Committed verdicts for each sink of `create_app`.",
    _STREAM,
    (WORKER,),
    (("sink", "its name"), ("outcome", "delivered, dropped (its queue was full) or failed (it raised)")),
)

# Latency

EVENT_TO_VERDICT = Metric(
    "fraudstream_event_to_verdict_seconds",
    "histogram",
    "From a transaction's event time to its verdict on its way; clocks of two machines.",
    _LATENCY,
    (WORKER,),
    buckets=(*STREAM_SECONDS, 86_400.0),
)
PRODUCE_TO_VERDICT = Metric(
    "fraudstream_produce_to_verdict_seconds",
    "histogram",
    "From the source record's broker timestamp to its verdict on its way, as read_uncommitted readers see it.",
    _LATENCY,
    (WORKER,),
    buckets=STREAM_SECONDS,
)
PRODUCE_TO_COMMIT = Metric(
    "fraudstream_produce_to_commit_seconds",
    "histogram",
    "From the source record's broker timestamp to its verdict committed, as read_committed readers see it.",
    _LATENCY,
    (WORKER,),
    buckets=STREAM_SECONDS,
)
BATCH = Metric(
    "fraudstream_batch_seconds",
    "histogram",
    "Time to judge and send one micro-batch, all stages.",
    _LATENCY,
    (WORKER,),
    buckets=QUICK_SECONDS,
)
BATCH_SIZE = Metric(
    "fraudstream_batch_records",
    "histogram",
    "Transactions that were judged as one micro-batch.",
    _LATENCY,
    (WORKER,),
    buckets=BATCH_RECORDS,
)
STAGES = {
    "decode": "bytes to transactions",
    "load": "profiles from the table",
    "features": "features and new profiles",
    "score": "the models",
    "decide": "threshold, reasons and the verdict's JSON",
    "commit_wait": "waiting for the commit of the checkpoint before",
    "send": "handing verdicts, alerts and dead letters to the producer",
    "observe": "console and metrics",
}
"""What a micro-batch goes through, in order."""
STAGE = Metric(
    "fraudstream_stage_seconds",
    "histogram",
    "Time that one micro-batch spent in a stage.",
    _LATENCY,
    (WORKER,),
    (("stage", "; ".join(f"{name}: {text}" for name, text in STAGES.items())),),
    STAGE_SECONDS,
)
CHECKPOINT = Metric(
    "fraudstream_checkpoint_seconds",
    "histogram",
    "Time from the beginning of a checkpoint to its commit and the local store.",
    _LATENCY,
    (WORKER,),
    buckets=QUICK_SECONDS,
)

# Lag

LAG = Metric(
    "fraudstream_consumer_lag_records",
    "gauge",
    "Records of the transactions topic that wait to be judged, in each partition owned.",
    _LAG,
    (WORKER,),
    (PARTITION,),
)
LAG_SECONDS = Metric(
    "fraudstream_consumer_lag_seconds",
    "gauge",
    "How long ago the broker took the last record that was judged, where more wait: no waiting record is much older; "
    "0 where none waits.",
    _LAG,
    (WORKER,),
    (PARTITION,),
)

# Restore

RESTORING = Metric("fraudstream_restoring", "gauge", "1 while profiles are restored.", _RESTORE, (WORKER,))
RESTORED = Metric(
    "fraudstream_restore_records",
    "gauge",
    "Records of the changelog that the restore under way, or the last one, has read.",
    _RESTORE,
    (WORKER,),
)
RESTORE_TOTAL = Metric(
    "fraudstream_restore_expected_records",
    "gauge",
    "Records that the same restore has to read at most: markers of transactions and compacted records are in it.",
    _RESTORE,
    (WORKER,),
)
RESTORE_SECONDS = Metric(
    "fraudstream_restore_seconds", "gauge", "Time that the same restore has taken so far.", _RESTORE, (WORKER,)
)

RESTORE_LEFT_SECONDS = Metric(
    "fraudstream_restore_left_seconds",
    "gauge",
    "Time until the same restore is over, at the rate of its last 10 s; NaN where that cannot be told.",
    _RESTORE,
    (WORKER,),
)
STORES_DAMAGED = Metric(
    "fraudstream_stores_damaged_total",
    "counter",
    "Partitions whose profiles on local disk were found damaged, moved aside and restored from the changelog.",
    _RESTORE,
    (WORKER,),
)

# Model

MODEL = Metric(
    "fraudstream_model_info",
    "gauge",
    "1 for the version of the model in use.",
    _MODEL,
    (WORKER, API),
    (("model_version", "as in verdicts; one at a time"),),
)
MODEL_RELOADS = Metric(
    "fraudstream_model_reloads_total", "counter", "Promoted models taken up while running.", _MODEL, (WORKER, API)
)
MODEL_RELOAD_FAILURES = Metric(
    "fraudstream_model_reload_failures_total",
    "counter",
    "Promoted models that could not be loaded; the old one goes on.",
    _MODEL,
    (WORKER, API),
)
SCORE_PSI = Metric(
    "fraudstream_score_psi",
    "gauge",
    "Population stability index of the last hour's scores against the training traffic; absent below 500 rows.",
    _MODEL,
    (WORKER,),
)
FEATURE_PSI = Metric(
    "fraudstream_feature_psi",
    "gauge",
    "The same of each model input.",
    _MODEL,
    (WORKER,),
    (("feature", "a model input of docs/features.md"),),
)
DRIFT_ROWS = Metric(
    "fraudstream_drift_rows",
    "gauge",
    "Sampled transactions of the last hour that both are made from.",
    _MODEL,
    (WORKER,),
)

# Labels

LABEL_RESULTS = {
    "counted": "its outcome is counted",
    "repeated": "the transaction's label was counted already",
    "revised": "it was, and said otherwise",
    "unknown": "no verdict of that user and transaction is in the trail",
}
OUTCOMES = ("true_positive", "false_positive", "true_negative", "false_negative")

LABELS = Metric(
    "fraudstream_labels_total",
    "counter",
    "Labels read, by what became of them.",
    _LABELS,
    (SINK,),
    (("result", "; ".join(f"{name}: {text}" for name, text in LABEL_RESULTS.items())),),
)
LABEL_OUTCOMES = Metric(
    "fraudstream_label_outcomes_total",
    "counter",
    "Counted labels beside the verdict: positive is flagged, true is right.",
    _LABELS,
    (SINK,),
    (("outcome", ", ".join(OUTCOMES)),),
)
LABELS_LATE = Metric(
    "fraudstream_labels_late_total",
    "counter",
    "Counted labels that were reported more than 30 days after the event.",
    _LABELS,
    (SINK,),
)
LABEL_DELAY = Metric(
    "fraudstream_label_delay_seconds",
    "histogram",
    "From a transaction's event time to when its label was reported.",
    _LABELS,
    (SINK,),
    buckets=(60.0, 3600.0, 86_400.0, 604_800.0, 2_592_000.0, 5_184_000.0, 7_776_000.0, 15_552_000.0),
)

# Cache

CACHE_WRITES = Metric(
    "fraudstream_cache_writes_total", "counter", "Copies of profiles left in the cache.", _CACHE, (WORKER,)
)
CACHE_DROPS = Metric(
    "fraudstream_cache_drops_total",
    "counter",
    "Copies dropped before the cache took them; they are written again later.",
    _CACHE,
    (WORKER,),
)
CACHE_FAILURES = Metric(
    "fraudstream_cache_failures_total",
    "counter",
    "Calls to the cache that failed.",
    _CACHE,
    (WORKER, API),
    (("operation", "read, write"),),
)
CACHE_HITS = Metric("fraudstream_cache_hits_total", "counter", "Users found in the cache.", _CACHE, (WORKER, API))
CACHE_MISSES = Metric(
    "fraudstream_cache_misses_total", "counter", "Users not found in the cache.", _CACHE, (WORKER, API)
)
CACHE_FALLBACKS = Metric(
    "fraudstream_cache_fallbacks_total",
    "counter",
    "Users judged as unknown because nobody could be asked.",
    _CACHE,
    (WORKER, API),
)
CACHE_WAITING = Metric(
    "fraudstream_cache_waiting", "gauge", "Changed profiles that the cache does not have yet.", _CACHE, (WORKER,)
)
PROFILE_AGE = Metric(
    "fraudstream_profile_age_seconds",
    "histogram",
    "Time since the profile that was judged by was written to the cache.",
    _CACHE,
    (WORKER, API),
    buckets=AGE_SECONDS,
)

# Audit sink

AUDIT_ROWS = Metric("fraudstream_audit_rows_total", "counter", "Verdicts stored with their evidence.", _AUDIT, (SINK,))
AUDIT_REDELIVERED = Metric(
    "fraudstream_audit_redelivered_total", "counter", "Verdicts that were stored before.", _AUDIT, (SINK,)
)
AUDIT_DUPLICATES = Metric(
    "fraudstream_audit_duplicates_total",
    "counter",
    "Later verdicts on transactions that are stored; they change nothing.",
    _AUDIT,
    (SINK,),
)
AUDIT_FAILURES = Metric(
    "fraudstream_audit_failures_total", "counter", "Batches that the database did not take.", _AUDIT, (SINK,)
)
AUDIT_BATCH = Metric(
    "fraudstream_audit_batch_seconds",
    "histogram",
    "Time to store one batch.",
    _AUDIT,
    (SINK,),
    buckets=STORE_SECONDS,
)
AUDIT_LAG = Metric(
    "fraudstream_audit_lag_records",
    "gauge",
    "Verdicts that are not stored yet, as far as the consumer knows.",
    _AUDIT,
    (SINK,),
)
AUDIT_CHAIN = Metric(
    "fraudstream_audit_chain_offset",
    "gauge",
    "Source offset of the last transaction that this sink stored: how far the evidence chain goes.",
    _AUDIT,
    (SINK,),
    (PARTITION,),
)
AUDIT_PARTITIONS = Metric(
    "fraudstream_audit_partitions", "gauge", "Partitions of the verdicts topic owned.", _AUDIT, (SINK,)
)
AUDIT_READY = Metric("fraudstream_audit_ready", "gauge", "1 when the sink stores.", _AUDIT, (SINK,))

# HTTP

HTTP_REQUESTS = Metric(
    "fraudstream_http_requests_total",
    "counter",
    "Requests answered.",
    _HTTP,
    (WORKER, API),
    (("route", "its template, - for none"), ("status", "of HTTP")),
)
HTTP_SECONDS = Metric(
    "fraudstream_http_request_seconds",
    "histogram",
    "Time to answer a request, whatever the answer.",
    _HTTP,
    (WORKER, API),
    (("route", "its template, - for none"),),
    QUICK_SECONDS,
)
PREDICT = Metric(
    "fraudstream_predict_seconds",
    "histogram",
    "Time to answer POST /predict.",
    _HTTP,
    (WORKER, API),
    buckets=QUICK_SECONDS,
)
PREDICT_ROWS_JUDGED = Metric(
    "fraudstream_predict_rows",
    "histogram",
    "Questions to /predict that were judged as one block.",
    _HTTP,
    (WORKER, API),
    buckets=PREDICT_ROWS,
)
ANSWERS_REPEATED = Metric(
    "fraudstream_answers_repeated_total",
    "counter",
    "Questions that were answered before and got the same answer or 409.",
    _HTTP,
    (WORKER, API),
)

# Process

READY = Metric("fraudstream_ready", "gauge", "1 when the process is ready.", _PROCESS, (WORKER, API))
PARTITIONS = Metric("fraudstream_partitions", "gauge", "Source partitions owned.", _PROCESS, (WORKER, API))
BUILD = Metric(
    "fraudstream_build_info",
    "gauge",
    "1 for the version of fraudstream that runs.",
    _PROCESS,
    ALL,
    (("version", "of fraudstream"), ("process", ", ".join(ALL))),
)
LOOP_LAG = Metric(
    "fraudstream_event_loop_lag_seconds",
    "histogram",
    "How much later than asked for a timer of the event loop came, ten times a second: what a request waits at least.",
    _PROCESS,
    ALL,
    buckets=QUICK_SECONDS,
)
STORE_PARTS = {
    "write_buffers": "changes that are not written to a file yet; rises and falls",
    "indexes": "filters and indexes of files",
    "blocks": "what was read lately",
}
STORE_MEMORY = Metric(
    "fraudstream_store_memory_bytes",
    "gauge",
    "What RocksDB holds in memory for the owned and the standby partitions.",
    _PROCESS,
    (WORKER,),
    (("part", "; ".join(f"{name}: {text}" for name, text in STORE_PARTS.items())),),
)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""Every metric of ours, in the order of this file."""

CLIENT_METRICS = (
    ("process_cpu_seconds_total", "counter", "user and system time"),
    ("process_resident_memory_bytes", "gauge", "memory in use; with process_virtual_memory_bytes"),
    ("process_start_time_seconds", "gauge", "when the process started, since 1970"),
    ("process_open_fds", "gauge", "open files; with process_max_fds"),
    ("python_gc_collections_total", "counter", "runs of the collector by generation; with python_gc_objects_*_total"),
    ("python_info", "gauge", "version of Python"),
)
"""What prometheus-client adds in every process; those of `process_` on Linux only."""


def markdown_tables() -> str:
    """The catalogue as Markdown, a table for each topic, for docs/metrics.md."""
    parts = []
    for topic in dict.fromkeys(metric.topic for metric in METRICS):
        rows = [_row(metric) for metric in METRICS if metric.topic == topic]
        parts.append(
            "\n".join([f"## {topic}", "", "| metric | kind | labels | process | |", "|---|---|---|---|---|", *rows])
        )
    rows = [f"| `{name}` | {kind} | | {', '.join(ALL)} | {doc} |" for name, kind, doc in CLIENT_METRICS]
    parts[-1] += "\n" + "\n".join(rows)
    return "\n\n".join(parts) + "\n"


def _row(metric: Metric) -> str:
    labels = "<br>".join(f"`{name}`: {text}" for name, text in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {', '.join(metric.processes)} | {metric.doc} |"
