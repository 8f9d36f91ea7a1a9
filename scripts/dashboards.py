"""The Grafana dashboards as a table of what is shown: title, question, unit, queries. `make_dashboards` writes them."""

from __future__ import annotations

from dataclasses import dataclass

HERE = '{namespace=~"$namespace"}'
"""Label filter of every query; `$namespace` is `.*` where there are no namespaces."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        queries: (PromQL, legend); `HERE` is written where its labels go.
        says: what it answers, shown at the panel.
        unit: of Grafana.
        kind: `timeseries`, `stat` or `bars`.
        width: of 24.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    says: str
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels."""

    uid: str
    title: str
    says: str
    panels: tuple[Panel, ...]


def here(name: str, labels: str = "") -> str:
    """A series of this deployment."""
    return f"{name}{HERE[:-1]}{',' if labels else ''}{labels}}}"


def rate(name: str, by: str = "", labels: str = "", within: str = "$__rate_interval") -> str:
    """Its growth a second, in all or by a label."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({here(name, labels)}[{within}]))"


def share(part: str, whole: str) -> str:
    """One rate as a share of another; no line where nothing happens."""
    return f"{part} / ({whole} > 0)"


def quantiles(name: str, by: str = "", labels: str = "") -> tuple[tuple[str, str], ...]:
    """p50, p95 and p99 of a histogram."""
    grouped = f"le, {by}" if by else "le"
    buckets = f"sum by ({grouped}) (rate({here(f'{name}_bucket', labels)}[$__rate_interval]))"
    suffix = f" {{{{{by}}}}}" if by else ""
    return tuple((f"histogram_quantile({q}, {buckets})", f"p{q * 100:.0f}{suffix}") for q in (0.5, 0.95, 0.99))


VERDICTS = rate("fraudstream_verdicts_total")
ALERTS = rate("fraudstream_alerts_total")
FAILED_REQUESTS = rate("fraudstream_http_requests_total", "route, status", 'status=~"5.."')

OVERVIEW = Dashboard(
    "fraudstream-overview",
    "fraudstream / overview",
    "Is every payment judged, in time, and as usual?",
    (
        Panel("Verdicts", ((VERDICTS, ""),), "Verdicts a second, now.", "reqps", "stat", 4),
        Panel("Alert share", ((share(ALERTS, VERDICTS), ""),), "Share of the payments that is flagged; CONTAMINATION "
              "is what it is for ordinary traffic.", "percentunit", "stat", 4),
        Panel("To verdict, p99", (quantiles("fraudstream_produce_to_verdict_seconds")[2],), "From the broker's "
              "timestamp to the verdict on its way.", "s", "stat", 4),
        Panel("Waiting", ((f"sum({here('fraudstream_consumer_lag_records')})", ""),), "Transactions that wait for "
              "their verdict.", "short", "stat", 4),
        Panel("Processes ready", ((f"sum({here('fraudstream_ready')})", ""),), "Workers and API processes that are "
              "ready.", "short", "stat", 4),
        Panel("Audit trail behind", ((f"sum({here('fraudstream_audit_lag_records')})", ""),), "Verdicts that are not "
              "stored yet.", "short", "stat", 4),
        Panel("Transactions and verdicts", ((rate("fraudstream_transactions_total"), "transactions"),
              (VERDICTS, "verdicts"), (ALERTS, "alerts")), "Both lines are one where all is well: what is not judged "
              "became a dead letter.", "reqps", width=12),
        Panel("Alerts by type", ((rate("fraudstream_alerts_total", "anomaly_type"), "{{anomaly_type}}"),),
              "What leads the reasons; docs/reasons.md explains each type.", "reqps", width=12),
        Panel("To verdict", quantiles("fraudstream_produce_to_verdict_seconds"), "From the broker's timestamp to the "
              "verdict on its way.", "s"),
        Panel("Waiting, by partition", ((f"sum by (partition) ({here('fraudstream_consumer_lag_records')})",
              "partition {{partition}}"),), "One partition alone: a hot key, or a worker that restores."),
        Panel("Requests", ((rate("fraudstream_http_requests_total", "route"), "{{route}}"),), "HTTP requests by "
              "route, of workers and API processes.", "reqps"),
        Panel("Model in use", ((f"count by (model_version) ({here('fraudstream_model_info')})", "{{model_version}}"),),
              "Processes by the model that they judge with; two lines during a canary."),
        Panel("Version in use", ((f"count by (version, process) ({here('fraudstream_build_info')})",
              "{{process}} {{version}}"),), "Processes by kind and version."),
        Panel("Dead letters by reason", ((f"{rate('fraudstream_dead_letters_total', 'reason')} or vector(0)",
              "{{reason}}"),), "`fraudstream dead-letters list` shows them.", "reqps"),
    ),
)  # fmt: skip

LATENCY = Dashboard(
    "fraudstream-latency",
    "fraudstream / latency",
    "Where does the time go, between a payment and its verdict?",
    (
        Panel("Produced to verdict", quantiles("fraudstream_produce_to_verdict_seconds"), "As read_uncommitted "
              "readers see it.", "s"),
        Panel("Produced to commit", quantiles("fraudstream_produce_to_commit_seconds"), "As read_committed readers "
              "see it: about a checkpoint more.", "s"),
        Panel("Event to verdict", quantiles("fraudstream_event_to_verdict_seconds"), "From the transaction's own time, "
              "by the producer's clock: network and queues before Kafka are in it.", "s"),
        Panel("Time by stage", ((f"sum by (stage) (rate({here('fraudstream_stage_seconds_sum')}[$__rate_interval]))",
              "{{stage}}"),), "Seconds a second that each stage takes: the sum of a worker's stages near 1 is a worker "
              "at its limit.", "short", width=12),
        Panel("Microseconds a transaction, by stage", ((f"1e6 * sum by (stage) "
              f"(rate({here('fraudstream_stage_seconds_sum')}[$__rate_interval])) / on () group_left () "
              f"({rate('fraudstream_transactions_total')} > 0)", "{{stage}}"),), "What one transaction costs in each "
              "stage.", "µs", width=12),
        Panel("Transactions in a batch", quantiles("fraudstream_batch_records"), "Small at low rates, large under a "
              "backlog."),
        Panel("Checkpoint", quantiles("fraudstream_checkpoint_seconds"), "Profiles, offsets and commit; grows with "
              "slow brokers.", "s"),
        Panel("Event loop", quantiles("fraudstream_event_loop_lag_seconds"), "How late timers come: what any request "
              "waits at least.", "s"),
        Panel("POST /predict", quantiles("fraudstream_predict_seconds"), "Of workers and API processes.", "s"),
        Panel("Requests, p99 by route", ((f"histogram_quantile(0.99, sum by (le, route) "
              f"(rate({here('fraudstream_http_request_seconds_bucket')}[$__rate_interval])))", "{{route}}"),),
              "Health checks and metrics among them.", "s"),
        Panel("Questions judged together", quantiles("fraudstream_predict_rows"), "Questions to /predict that were "
              "judged as one block."),
    ),
)  # fmt: skip

MODELS = Dashboard(
    "fraudstream-models",
    "fraudstream / models and drift",
    "Does the model still see what it was trained on, and is it right?",
    (
        Panel("Alert share", ((share(ALERTS, VERDICTS), "now"),), "Share of the payments that is flagged.",
              "percentunit"),
        Panel("Alerts by type, share", ((f"{rate('fraudstream_alerts_total', 'anomaly_type')} / on () group_left () "
              f"({ALERTS} > 0)", "{{anomaly_type}}"),), "A type that grows alone is an attack or a broken field.",
              "percentunit"),
        Panel("Score drift", ((here("fraudstream_score_psi"), "{{instance}}"),), "Population stability index of the "
              "last hour's scores. Below 0.1: as in training; above 0.25: look."),
        Panel("Inputs that drift most", ((f"topk(10, max by (feature) ({here('fraudstream_feature_psi')}))",
              "{{feature}}"),), "Population stability index of the ten model inputs that moved most.", "short", "bars",
              16),
        Panel("Rows behind the drift", ((here("fraudstream_drift_rows"), "{{instance}}"),), "Sampled transactions of "
              "the last hour; below 500 no index is shown."),
        Panel("Precision and recall, seven days", (("fraudstream:precision:ratio_increase7d", "precision"),
              ("fraudstream:recall:ratio_increase7d", "recall")), "From labels, where some came. Labels come late, "
              "and mostly for what was flagged.", "percentunit"),
        Panel("Labels by outcome", ((f"sum by (outcome) (increase({here('fraudstream_label_outcomes_total')}[1d]))",
              "{{outcome}}"),), "Labels of the last day beside their verdicts: positive is flagged, true is right."),
        Panel("Labels by result", ((f"sum by (result) (increase({here('fraudstream_labels_total')}[1d]))",
              "{{result}}"),), "Unknown: no verdict of that transaction is in the audit trail."),
        Panel("Label delay", quantiles("fraudstream_label_delay_seconds"), "From the event to the report of its label.",
              "s"),
        Panel("Degraded verdicts", ((f"{rate('fraudstream_degraded_total', 'part')} or vector(0)", "{{part}}"),),
              "Verdicts made without a model or feature that failed.", "reqps"),
        Panel("Model in use", ((f"count by (model_version) ({here('fraudstream_model_info')})", "{{model_version}}"),),
              "Processes by the model that they judge with."),
        Panel("Reloads", ((f"sum(increase({here('fraudstream_model_reloads_total')}[1h]))", "taken up"),
              (f"sum(increase({here('fraudstream_model_reload_failures_total')}[1h]))", "failed")),
              "Promoted models that were taken up while running, or could not be."),
    ),
)  # fmt: skip

RELIABILITY = Dashboard(
    "fraudstream-reliability",
    "fraudstream / reliability",
    "Is anything lost, late, twice, or about to break?",
    (
        Panel("Ready", ((here("fraudstream_ready"), "{{instance}}"), (here("fraudstream_audit_ready"),
              "audit {{instance}}")), "1: takes and judges payments, or stores verdicts."),
        Panel("Partitions owned", ((here("fraudstream_partitions"), "{{instance}}"),
              (here("fraudstream_audit_partitions"), "audit {{instance}}")), "All of them together are the topic's "
              "partitions; a change is a rebalance."),
        Panel("Starts", ((f"changes({here('process_start_time_seconds')}[1h])", "{{instance}}"),), "Starts within the "
              "last hour."),
        Panel("Waiting", ((f"sum by (partition) ({here('fraudstream_consumer_lag_records')})",
              "partition {{partition}}"),), "Transactions that wait for their verdict."),
        Panel("Oldest waiting", ((f"max by (partition) ({here('fraudstream_consumer_lag_seconds')})",
              "partition {{partition}}"),), "No waiting transaction is much older.", "s"),
        Panel("Late and repeated", ((share(rate("fraudstream_late_total"), VERDICTS), "late"),
              (share(rate("fraudstream_duplicates_total"), VERDICTS), "duplicates")), "Shares of the transactions; "
              "both are judged and marked.", "percentunit"),
        Panel("Restore", ((f"{here('fraudstream_restore_records')} / "
              f"({here('fraudstream_restore_expected_records')} > 0)", "{{instance}}"),), "Share of the changelog that "
              "the restore under way, or the last one, has read.", "percentunit"),
        Panel("Restore, records a second", ((f"{here('fraudstream_restore_records')} / "
              f"({here('fraudstream_restore_seconds')} > 0)", "{{instance}}"),), "Of the restore under way, or the "
              "last one.", "reqps"),
        Panel("Dead letters", ((f"{rate('fraudstream_dead_letters_total', 'reason')} or vector(0)", "{{reason}}"),),
              "Messages that could not be judged.", "reqps"),
        Panel("Redis", ((rate("fraudstream_cache_writes_total"), "copies written"),
              (rate("fraudstream_cache_drops_total"), "dropped"), (rate("fraudstream_cache_failures_total",
              "operation"), "failed {{operation}}")), "Copies of profiles; those dropped are written again later.",
              "reqps"),
        Panel("Profiles asked for", ((rate("fraudstream_cache_hits_total"), "found"),
              (rate("fraudstream_cache_misses_total"), "not found"), (rate("fraudstream_cache_fallbacks_total"),
              "nobody to ask")), "By /predict and /profiles, in Redis.", "reqps"),
        Panel("Copies that wait for Redis", ((here("fraudstream_cache_waiting"), "{{instance}}"),), "Changed profiles "
              "that Redis does not have yet."),
        Panel("Age of profiles", quantiles("fraudstream_profile_age_seconds"), "How old the copies are that /predict "
              "judges by.", "s"),
        Panel("Audit trail", ((rate("fraudstream_audit_rows_total"), "stored"),
              (rate("fraudstream_audit_redelivered_total"), "delivered again"),
              (rate("fraudstream_audit_failures_total"), "failed batches")), "Verdicts stored a second.", "reqps"),
        Panel("Audit trail behind", ((f"sum({here('fraudstream_audit_lag_records')})", "verdicts"),), "Verdicts that "
              "are not stored yet."),
        Panel("Storing a batch", quantiles("fraudstream_audit_batch_seconds"), "Time that the database takes for one "
              "batch.", "s"),
        Panel("Errors", ((f"{FAILED_REQUESTS} or vector(0)", "{{status}} {{route}}"),), "Requests answered with 5xx.",
              "reqps"),
        Panel("Own sinks", ((f"{rate('fraudstream_sink_verdicts_total', 'sink, outcome')} or vector(0)",
              "{{sink}} {{outcome}}"),), "Verdicts handed to sinks of `create_app`.", "reqps"),
        Panel("CPU", ((f"rate({here('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}"),), "Cores in "
              "use; a worker's loop has one.", "short"),
        Panel("Memory", ((here("process_resident_memory_bytes"), "{{instance}}"),), "Resident memory.", "bytes"),
        Panel("Open files", ((here("process_open_fds"), "{{instance}}"),), "RocksDB and connections."),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, LATENCY, MODELS, RELIABILITY)
