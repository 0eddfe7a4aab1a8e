"""Speed from a cumulative count: how much a second, over the last while."""

from collections import deque

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
