"""What is known of one worker over all its lives: counters that add up over attempts, gauges of the newest report."""

from pipeline.telemetry.metric import SeriesKey
from pipeline.telemetry.tally import Report

MAX_OPEN_ATTEMPTS = 16
"""Attempts of one worker that may still send late reports; older ones are summed up and closed."""


class WorkerLedger:
    """Counters and gauges of one worker, whatever the order in which its reports arrive."""

    def __init__(self) -> None:
        self.attempts_begun = self.attempts_seen = 0
        self.gauges: dict[SeriesKey, tuple[int, float]] = {}
        self._newest: tuple[int, int] | None = None
        self._closed: dict[SeriesKey, float] = {}
        self._open: dict[int, dict[SeriesKey, float]] = {}
        self._closed_up_to: int | None = None

    def new_attempt(self) -> int:
        """Number for a life of the worker that begins; every later one has a higher number."""
        self.attempts_begun += 1
        return self.attempts_begun - 1

    def accept(self, report: Report, arrival: int) -> None:
        """Take in a report; one that is repeated, or overtaken by a later one, changes nothing.

        Args:
            report: From this worker.
            arrival: Position of the report among all that the hub received; ranks gauges of several workers.
        """
        if self._closed_up_to is not None and report.attempt <= self._closed_up_to:
            return
        if report.attempt not in self._open:
            self.attempts_seen += 1
        totals = self._open.setdefault(report.attempt, {})
        for key, value in report.totals.items():
            totals[key] = max(totals.get(key, 0.0), value)
        stamp = (report.attempt, report.sequence)
        if self._newest is None or stamp > self._newest:
            self._newest = stamp
            for key, value in report.gauges.items():
                self.gauges[key] = (arrival, value)
        while len(self._open) > MAX_OPEN_ATTEMPTS:
            self._close_oldest()

    def totals(self) -> dict[SeriesKey, float]:
        """Counters summed over all attempts.

        Added in the order of the attempts, so that closing the oldest changes no bit of the sum, and no sum ever falls.
        """
        sums = dict(self._closed)
        for attempt in sorted(self._open):
            for key, value in self._open[attempt].items():
                sums[key] = sums.get(key, 0.0) + value
        return sums

    def _close_oldest(self) -> None:
        oldest = min(self._open)
        for key, value in self._open.pop(oldest).items():
            self._closed[key] = self._closed.get(key, 0.0) + value
        self._closed_up_to = oldest
