"""From the catalogue to prometheus-client: one registry a process, and a histogram that takes a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import fraudstream
from fraudstream.adapters import metric_catalogue as catalogue

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody asks for


class Instruments:
    """The registry of one process, with what every process has.

    Attributes:
        before_text: called before each rendering, to set what is only known when asked.
    """

    def __init__(self, process: str) -> None:
        self.registry = CollectorRegistry()
        self.before_text: list[Callable[[], None]] = []
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.gauge(catalogue.BUILD).labels(fraudstream.__version__, process).set(1)
        self.loop_lag = self.histogram(catalogue.LOOP_LAG)

    def counter(self, metric: catalogue.Metric) -> Counter:
        """A counter of the catalogue."""
        return Counter(metric.name, metric.doc, metric.label_names, registry=self.registry)

    def gauge(self, metric: catalogue.Metric) -> Gauge:
        """A gauge of the catalogue."""
        return Gauge(metric.name, metric.doc, metric.label_names, registry=self.registry)

    def histogram(self, metric: catalogue.Metric) -> Histogram:
        """A histogram of the catalogue, for values that come one by one."""
        return Histogram(metric.name, metric.doc, metric.label_names, buckets=metric.buckets, registry=self.registry)

    def batch_histogram(self, metric: catalogue.Metric, label_values: Sequence[str] = ()) -> BatchHistogram:
        """A histogram of the catalogue, for values that come in batches."""
        histogram = BatchHistogram(metric, label_values)
        self.registry.register(histogram)
        return histogram

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        for prepare in self.before_text:
            prepare()
        return generate_latest(self.registry)


class BatchHistogram(Collector):
    """A histogram that counts an array in one step: a value costs nanoseconds, not the microsecond of `observe`.

    Args:
        label_values: the values of the one label; empty for a metric without.
    """

    def __init__(self, metric: catalogue.Metric, label_values: Sequence[str] = ()) -> None:
        self._metric = metric
        self._label_values = tuple(label_values)
        self._limits = np.array(metric.buckets)
        self._width = len(metric.buckets) + 1
        rows = max(len(label_values), 1)
        self._counts = np.zeros(rows * self._width, np.int64)
        self._sums = np.zeros(rows)
        self._firsts = np.arange(rows) * self._width

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Counts values (n,) of a metric without labels."""
        at = np.searchsorted(self._limits, values)  # the first limit that is not below the value
        self._counts += np.bincount(at, minlength=self._width)
        self._sums[0] += values.sum()

    def add_one(self, value: float) -> None:
        """Counts one value of a metric without labels."""
        self._counts[self._limits.searchsorted(value)] += 1
        self._sums[0] += value

    def add_each(self, values: ArrayLike) -> None:
        """Counts one value for each label value, in their order."""
        seconds = np.asarray(values, np.float64)
        self._counts[self._firsts + self._limits.searchsorted(seconds)] += 1
        self._sums += seconds

    def describe(self) -> Iterator[Metric]:
        """The family without samples, for the registry."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """The family with its samples."""
        family = self._family()
        cumulative = self._counts.reshape(-1, self._width).cumsum(axis=1).tolist()
        names = [*(_go_float(limit) for limit in self._metric.buckets), "+Inf"]
        for row, total in enumerate(self._sums.tolist()):
            labels = self._label_values[row : row + 1]
            family.add_metric(labels, list(zip(names, cumulative[row], strict=True)), total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._metric.name, self._metric.doc, labels=self._metric.label_names)


def _go_float(value: float) -> str:
    return repr(float(value))
