"""Slowing down when a store asks for it: all threads of a process share one pace for each store.

A store that answers 503 or 429 is asked at growing intervals from then on, by all threads together, and faster again with
every answer that is none of these. Backing off thread by thread alone would keep the store over its limit: the threads that
were not refused go on at full speed.
"""

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

SHORTEST_S = 0.02
"""The interval between requests after the first complaint; below half of it there is no interval at all."""
LONGEST_S = 2.0
"""The longest interval between requests, and a tenth of the longest wish of a store (Retry-After) that is granted."""
RECOVERY = 0.85
"""What an interval shrinks to with each good answer: from the longest to none in 33 answers."""


class Pace:
    """When the next request to one store may start; may be used from several threads.

    Args:
        clock: Seconds on a clock that never steps back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._slowed_at = float("-inf")
        self._next_at = float("-inf")
        self.interval_s = 0.0
        """Seconds between the starts of two requests; 0 where the store has nothing to complain of."""

    def reserve(self) -> float:
        """Takes the next free slot and returns the seconds until it, 0 where nothing is in the way."""
        with self._lock:
            now = self._clock()
            start = max(now, self._next_at)
            if self.interval_s:
                self._next_at = start + self.interval_s
            return start - now

    def slow_down(self, retry_after_s: float = 0.0) -> None:
        """Doubles the interval, once for all complaints that come within one interval.

        Args:
            retry_after_s: How long the store wants to be left alone, where it said so.
        """
        with self._lock:
            now = self._clock()
            if now - self._slowed_at >= self.interval_s:
                self.interval_s = min(LONGEST_S, max(SHORTEST_S, 2 * self.interval_s))
                self._slowed_at = now
            self._next_at = max(self._next_at, now + min(retry_after_s, 10 * LONGEST_S))

    def recover(self) -> None:
        """Shrinks the interval after a good answer."""
        if self.interval_s:  # read without the lock: this is the way of every request
            with self._lock:
                self.interval_s *= RECOVERY
                if self.interval_s < SHORTEST_S / 2:
                    self.interval_s = 0.0


class Paces:
    """One pace a store, where a store is what a URL names before its path: a bucket, a web server.

    Args:
        clock: As `Pace`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._paces: dict[tuple[str, str], Pace] = {}

    def of(self, url: str) -> Pace:
        """Returns the pace of the store that holds `url`."""
        parts = urlsplit(url)
        with self._lock:
            return self._paces.setdefault((parts.scheme, parts.netloc), Pace(self._clock))
