"""The worker's side: count as you go, and send the cumulative totals now and then.

Totals, not increments, travel: a report that is lost, doubled or late then does no harm.
"""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.telemetry.metric import Metric, SeriesKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What one attempt of one worker has counted since that attempt started."""

    worker: str
    """The worker's place in the job (`loader-0`, `trainer-3`), the same after a restart."""
    attempt: int
    """Which life of the worker, as `HubState.new_attempt` numbered it: higher after each restart."""
    sequence: int
    """Grows with each report of the attempt: the newest gauges win."""
    totals: Mapping[SeriesKey, float] = field(default_factory=dict)
    """Counters: cumulative since the attempt started."""
    gauges: Mapping[SeriesKey, float] = field(default_factory=dict)
    """Gauges: the latest values."""


class Tally:
    """Counts of one attempt of one worker; may be used from several threads.

    Args:
        worker: The worker's place in the job, the same after a restart.
        attempt: Which life of the worker, as `HubState.new_attempt` numbers it.
    """

    def __init__(self, worker: str, attempt: int) -> None:
        self._worker = worker
        self._attempt = attempt
        self._sequence = 0
        self._totals: dict[SeriesKey, float] = {}
        self._gauges: dict[SeriesKey, float] = {}
        self._lock = threading.Lock()

    def add(self, metric: Metric, amount: float = 1.0, **label_values: str) -> None:
        """Count `amount` more (in the metric's unit, at least 0) on a counter.

        Raises:
            ValueError: If the metric is no counter of workers, a label is wrong, or the amount is negative or not finite.
        """
        key = _counter_key(metric, amount, label_values)
        with self._lock:
            self._totals[key] = self._totals.get(key, 0.0) + float(amount)

    def reach(self, metric: Metric, total: float, **label_values: str) -> None:
        """Bring a counter up to a total that somebody else keeps; a smaller total than before changes nothing.

        Args:
            metric: The counter.
            total: Counted since this attempt started, in the metric's unit, at least 0.
            label_values: One value for each declared label.

        Raises:
            ValueError: If the metric is no counter of workers, a label is wrong, or the total is negative or not finite.
        """
        key = _counter_key(metric, total, label_values)
        with self._lock:
            self._totals[key] = max(self._totals.get(key, 0.0), float(total))

    def set(self, metric: Metric, value: float, **label_values: str) -> None:
        """Set a gauge; NaN and infinities are allowed, because a loss that has become one must be seen.

        Raises:
            ValueError: If the metric is no gauge of workers or a label is wrong.
        """
        if metric.kind != "gauge" or metric.source != "workers":
            raise ValueError(f"metric {metric.name}: expected a gauge of workers, got a {metric.kind} of {metric.source}")
        key = metric.series(**label_values)
        with self._lock:
            self._gauges[key] = float(value)

    def report(self) -> Report:
        """Everything counted so far, as a value to send to the hub."""
        with self._lock:
            self._sequence += 1
            return Report(
                worker=self._worker,
                attempt=self._attempt,
                sequence=self._sequence,
                totals=dict(self._totals),
                gauges=dict(self._gauges),
            )


def _counter_key(metric: Metric, number: float, label_values: Mapping[str, str]) -> SeriesKey:
    if metric.kind != "counter" or metric.source != "workers":
        raise ValueError(f"metric {metric.name}: expected a counter of workers, got a {metric.kind} of {metric.source}")
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"metric {metric.name}: got {number}, expected a finite number of at least 0")
    return metric.series(**label_values)
