"""docs/metrics.md: the catalogue of metrics with what it takes to read it; the tables are made from code."""

from __future__ import annotations

from fraudstream.adapters.metric_catalogue import markdown_tables
from fraudstream.drift import BINS, BLOCK_S, BLOCKS, LEAST_ROWS, ROWS_A_BATCH

HEAD = """\
# The metrics

Made from `fraudstream/adapters/metric_catalogue.py` by `make docs`. Each process answers `GET /metrics` in Prometheus'
text format, without a key: a worker and `fraudstream api` at WEB_PORT, the audit sink at AUDIT_WEB_PORT.

A histogram's series are `NAME_bucket` (label `le`), `NAME_sum` and `NAME_count`. Counters start at 0 with the process.
Everything in the stream is counted once for each micro-batch. `python -m benchmarks.metrics` measures what that costs:
0.3 µs an event in batches of 512, 0.6 µs of 128, 2.4 µs of 16, where a worker has time (2026-11-28, AMD EPYC, 2 cores
that did other work as well).

"""

QUERIES = """\
## Questions

| question | PromQL |
|---|---|
| transactions a second | `sum(rate(fraudstream_transactions_total[5m]))` |
| share that is flagged | `sum(rate(fraudstream_alerts_total[1h])) / sum(rate(fraudstream_verdicts_total[1h]))` |
| from produced to judged, 99 % | \
`histogram_quantile(0.99, sum by (le) (rate(fraudstream_produce_to_verdict_seconds_bucket[5m])))` |
| where a batch spends its time | \
`sum by (stage) (rate(fraudstream_stage_seconds_sum[5m])) / scalar(sum(rate(fraudstream_transactions_total[5m])))` |
| records restored a second | `fraudstream_restore_records / fraudstream_restore_seconds` |
| precision | `sum(increase(fraudstream_label_outcomes_total{outcome="true_positive"}[30d])) / \
sum(increase(fraudstream_label_outcomes_total{outcome=~"true_positive\\|false_positive"}[30d]))` |
| recall | `sum(increase(fraudstream_label_outcomes_total{outcome="true_positive"}[30d])) / \
sum(increase(fraudstream_label_outcomes_total{outcome=~"true_positive\\|false_negative"}[30d]))` |

In a shell or a rule `\\|` is `|`. Precision and recall are those of the labelled transactions: where only fraud is
reported, nothing says which alerts were false, and precision means nothing. [audit.md](audit.md) says how labels are
joined.
"""


def metrics_page() -> str:
    """The page."""
    drift = (
        "## Drift\n\n"
        "The population stability index (Siddiqi, Credit Risk Scorecards, 2006) of a score or a feature is\n\n"
        "    sum over bins of (p - q) log(p / q)\n\n"
        "where q is the bin's share of the training traffic and p its share of the last "
        f"{BLOCK_S * BLOCKS / 60:.0f} minutes, with half a row added to each bin. Up to {BINS} bins hold a tenth of "
        "the training rows each; where many values are equal, the bins are fewer. The reference comes with the model: "
        "scores are ranks among training rows, and the autoencoder holds the quantiles of every model input. Below 0.1 "
        "nothing has changed, above 0.25 much has.\n\n"
        f"At most {ROWS_A_BATCH} rows of a micro-batch, evenly spaced, are taken; below {LEAST_ROWS} rows the index is "
        f"absent, because chance alone would move it. It forgets in steps of {BLOCK_S / 60:.0f} minutes, and all at "
        "once when the model is replaced. The training traffic is that of users who are known: a stream of new users, "
        "such as the first days without `fraudstream backfill`, drifts from it. A scorer of your own (SCORER) brings "
        "no reference; then both are absent.\n"
    )
    return HEAD + markdown_tables() + "\n" + drift + "\n" + QUERIES
