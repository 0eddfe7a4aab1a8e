"""Speed from a cumulative count: how much a second, over the last while."""

from collections import deque

SHORT_RUN_S = 2.0
"""A run shorter than this has too few observations for a rate between them."""
MAX_OBSERVATIONS = 1024
"""Observations kept, so that frequent ones cannot fill the memory; the window is then shorter than asked for."""


class RateWindow:
    """Growth a second of a cumulative count over a sliding window.

    Only what is seen to grow counts: a resumed run that begins at 400 steps starts with no rate, not with 400 steps in
    no time. A count that falls (the run went back to a checkpoint) begins a new window.

    Args:
        window_s: Seconds looked back, more than 0.
    """

    def __init__(self, window_s: float = 30.0) -> None:
        if window_s <= 0:
            raise ValueError(f"got window_s {window_s}, expected more than 0")
        self._window_s = window_s
        self._points: deque[tuple[float, float]] = deque(maxlen=MAX_OBSERVATIONS)

    def observe(self, now_s: float, count: float) -> None:
        """Note the count at a time, both in any unit that never runs backwards (seconds of a monotonic clock)."""
        if self._points and (count < self._points[-1][1] or now_s < self._points[-1][0]):
            self._points.clear()
        self._points.append((now_s, count))
        # The point just outside the window stays: it is where the window begins.
        while len(self._points) > 2 and self._points[1][0] <= now_s - self._window_s:
            self._points.popleft()

    def per_second(self) -> float | None:
        """Growth a second over the window, at least 0; None while there are not two observations at different times."""
        if len(self._points) < 2:
            return None
        (first_s, first), (last_s, last) = self._points[0], self._points[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None


class RunRate:
    """Growth a second of a count over a whole run: start-up left out where the run is long enough to tell it apart.

    Args:
        begin_s: When work began, in seconds of a monotonic clock.
    """

    def __init__(self, begin_s: float) -> None:
        self._begin_s = begin_s
        self._first: tuple[float, float] | None = None
        self._last = (begin_s, 0.0)

    def observe(self, now_s: float, count: float) -> None:
        """Note the run's count, which begins at 0, at a time of the same clock; a rate counts from the first growth seen."""
        if self._first is None and count > 0:
            self._first = now_s, count
        if count > self._last[1]:  # what passes after the last growth, such as the end of the job, is no work
            self._last = now_s, count

    def per_second(self) -> float | None:
        """Growth a second from the first growth seen to the last, or from the beginning in a short run; None before any."""
        if self._first is None:
            return None
        (first_s, first), (last_s, last) = self._first, self._last
        if last_s - first_s >= SHORT_RUN_S:
            return (last - first) / (last_s - first_s)
        return last / (last_s - self._begin_s) if last_s > self._begin_s else None
