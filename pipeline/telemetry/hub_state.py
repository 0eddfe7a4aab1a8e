"""The numbers of one job, put together from its workers' reports and its committed state, ready to be scraped.

No network, no Ray and no thread lives here; the lock is there because reports and scrapes come from different threads.
"""

import math
import threading
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from pipeline.telemetry.declarations import WORKER_RESTARTS
from pipeline.telemetry.metric import Metric, SeriesKey
from pipeline.telemetry.tally import Report
from pipeline.telemetry.worker_ledger import WorkerLedger

MAX_WORKERS = 4096
"""Workers remembered. Workers are named by place, so more than this means that somebody puts a random id in the name."""

MAX_SERIES_PER_METRIC = 64
"""Label sets of one metric. More means that a label's values are not a small fixed set."""


class HubState(Collector):
    """One job's metrics; a prometheus_client collector that can be registered as it is.

    Counters are exact and never fall, whatever the order, loss or repetition of reports: each worker attempt sends
    cumulative totals, of which the highest counts, and attempts and workers add up. Attempts are numbered here and by no clock,
    which may be set back, or differ on the node that a worker is restarted on.

    Args:
        metrics: What this job exports, for example `metrics_of("train")`. Counters without labels start at 0 at once,
            so that a rate over "nothing happened yet" is 0 and not absent; all else appears with its first value.
        max_workers: Workers remembered.
    """

    def __init__(self, metrics: Sequence[Metric], *, max_workers: int = MAX_WORKERS) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._max_workers = max_workers
        self._workers: dict[str, WorkerLedger] = {}
        self._committed: dict[SeriesKey, float] = {}
        self._known_series: dict[str, set[SeriesKey]] = {name: set() for name in self._metrics}
        self._arrivals = 0
        self._lock = threading.Lock()

    def new_attempt(self, worker: str) -> int:
        """Number for a life of a worker that begins, to be asked for before its first report.

        Args:
            worker: The worker's place in the job, the same after a restart.

        Raises:
            ValueError: If there are more workers than can be remembered.
        """
        with self._lock:
            return self._ledger(worker).new_attempt()

    def report(self, report: Report) -> None:
        """Take in one worker's report, or refuse all of it.

        Raises:
            ValueError: If a series is not one that workers of this job report, a total is negative or not finite, or
                there are more workers or label values than can be remembered.
        """
        with self._lock:
            for key, total in report.totals.items():
                self._check(key, kind="counter", source="workers")
                if not (math.isfinite(total) and total >= 0):
                    raise ValueError(f"{key} of {report.worker}: got total {total}, expected a finite number of at least 0")
            for key in report.gauges:
                self._check(key, kind="gauge", source="workers")
            grown = self._with_new_series((*report.totals, *report.gauges))
            ledger = self._ledger(report.worker)
            self._known_series.update(grown)
            self._arrivals += 1
            ledger.accept(report, self._arrivals)

    def set_committed(self, metric: Metric, value: float, **label_values: str) -> None:
        """Set a number that comes from committed state; a counter only ever rises, a gauge takes any value.

        Raises:
            ValueError: If the metric is not of this job or not one of committed state, a label is wrong, or a
                counter's value is negative or not finite.
        """
        key = metric.series(**label_values)
        with self._lock:
            self._check(key, kind=metric.kind, source="committed")
            if metric.kind == "counter":
                if not (math.isfinite(value) and value >= 0):
                    raise ValueError(f"{key}: got {value}, expected a finite number of at least 0")
                value = max(value, self._committed.get(key, 0.0))
            self._known_series.update(self._with_new_series((key,)))
            self._committed[key] = value

    def snapshot(self) -> dict[str, float]:
        """All series with their values now; keys are written as in a scrape, `name` or `name{label="value"}`."""
        return {str(key): value for key, value in self._values().items()}

    def collect(self) -> Iterator[Family]:
        """The metric families of a scrape, in the order of the declarations."""
        values = self._values()
        for metric in self._metrics.values():
            family = _family(metric)
            for key, value in values.items():
                if key.metric == metric.name:
                    family.add_metric([text for _, text in key.labels], value)
            yield family

    def describe(self) -> Iterable[Family]:
        """The metric families without values; lets a registry refuse two collectors with the same names."""
        return [_family(metric) for metric in self._metrics.values()]

    def _values(self) -> dict[SeriesKey, float]:
        with self._lock:
            values = {
                SeriesKey(metric.name): 0.0
                for metric in self._metrics.values()
                if metric.kind == "counter" and not metric.labels
            }
            readings: dict[SeriesKey, list[tuple[int, float]]] = {}
            for ledger in self._workers.values():
                for key, total in ledger.totals().items():
                    values[key] = values.get(key, 0.0) + total
                for key, reading in ledger.gauges.items():
                    readings.setdefault(key, []).append(reading)
            for key, found in readings.items():
                values[key] = _combine(self._metrics[key.metric], found)
            values.update(self._committed)
            if WORKER_RESTARTS.name in self._metrics:
                restarts = sum(max(0, ledger.attempts_seen - 1) for ledger in self._workers.values())
                values[WORKER_RESTARTS.series()] = float(restarts)
            return values

    def _ledger(self, worker: str) -> WorkerLedger:
        ledger = self._workers.get(worker)
        if ledger is None:
            if len(self._workers) >= self._max_workers:
                raise ValueError(f"got {worker!r}, expected at most {self._max_workers} distinct workers")
            ledger = self._workers[worker] = WorkerLedger()
        return ledger

    def _check(self, key: SeriesKey, *, kind: str, source: str) -> None:
        metric = self._metrics.get(key.metric)
        if metric is None:
            raise ValueError(f"{key}: expected a metric of this job, one of {', '.join(self._metrics)}")
        if metric.kind != kind or metric.source != source:
            raise ValueError(f"{key}: got a {kind} of {source}, declared is a {metric.kind} of {metric.source}")
        if tuple(label for label, _ in key.labels) != metric.labels:
            raise ValueError(f"{key}: expected the labels {list(metric.labels)}")

    def _with_new_series(self, keys: Iterable[SeriesKey]) -> dict[str, set[SeriesKey]]:
        """The known series of the metrics that grow by these keys, or a refusal that leaves everything as it was."""
        grown: dict[str, set[SeriesKey]] = {}
        for key in keys:
            known = self._known_series[key.metric]
            if key not in known:
                grown.setdefault(key.metric, set(known)).add(key)
        for name, series in grown.items():
            if len(series) > MAX_SERIES_PER_METRIC:
                raise ValueError(f"{name}: got {len(series)} label sets, expected at most {MAX_SERIES_PER_METRIC}")
        return grown


def _combine(metric: Metric, readings: Sequence[tuple[int, float]]) -> float:
    """One gauge from the readings of all workers; readings are (arrival, value), at least one."""
    values = [value for _, value in readings]
    match metric.combine:
        case "sum":
            return math.fsum(values)
        case "mean":
            return math.fsum(values) / len(values)
        case "max":
            return max(values)
        case "last":
            return max(readings, key=lambda reading: reading[0])[1]


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return family(metric.name, metric.help, labels=metric.labels)
