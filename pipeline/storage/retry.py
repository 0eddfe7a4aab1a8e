"""Transient faults are tried again with exponential backoff and full jitter, within bounds, and counted."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.errors import ConfigError, TransientStorageError
from pipeline.storage.counts import count
from pipeline.storage.faults import StrangeAnswer, in_our_words, is_doubtful, is_throttle, is_timeout, retry_after_s
from pipeline.storage.pace import Paces
from pipeline.storage.urls import is_local

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a transient fault is waited out. The n-th pause is uniform in [0, min(longest, first * 2^n)]."""

    doubtful_attempts: int = 8
    """Calls that may fail with what is more likely a mistake than an outage: a host of no such name, another protocol, an
    answer to another question. In a ranged read, since the last byte that came."""
    first_delay_s: float = 0.2
    """Upper end of the first pause."""
    longest_delay_s: float = 15.0
    """Upper end of any pause."""
    total_s: float = 120.0
    """No further attempt is started after this time since the first; the last one is started then."""
    fewest_attempts: int = 3
    """So many are made all the same: an attempt that hangs until it is given up must not use up the time of all others."""

    def __post_init__(self) -> None:
        for name in ("doubtful_attempts", "fewest_attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"RetryPolicy.{name}: got {getattr(self, name)}, expected at least 1")
        for name in ("first_delay_s", "longest_delay_s", "total_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"RetryPolicy.{name}: got {getattr(self, name)}, expected at least 0")


DEFAULT_POLICY = RetryPolicy()
"""Rides out a throttled, restarting or unreachable store for two minutes."""

paces = Paces(time.monotonic)
"""How fast this process may ask each store."""
# Not the global generator: training owns that. Not a seeded one: forked processes would back off in step.
_jitter = random.SystemRandom()


class Attempts:
    """The attempts of one operation: waits before each as long as it should, and ends with the error that is final.

    Args:
        operation: The name under which repeats are counted and which messages carry.
        url: The object or folder concerned.
        policy: The bounds.
    """

    def __init__(self, operation: str, url: str, policy: RetryPolicy = DEFAULT_POLICY) -> None:
        self._operation, self._url, self._policy = operation, url, policy
        self._pace = None if is_local(url) else paces.of(url)
        self._started = time.monotonic()
        self._made = 0
        self._in_vain = self._doubtful = 0
        self._wait(self._pace.reserve() if self._pace else 0.0)

    def failed(self, error: Exception) -> None:
        """Waits before another attempt.

        Raises:
            TransientStorageError: The fault outlasted the policy.
            PermanentStorageError: The store gave an answer that will not change, or did not while it was asked again.
            Exception: `error` itself, where it is no fault of a store or was raised on purpose.
        """
        self._made += 1
        ours = in_our_words(error, self._url, self._operation)
        if ours is None or ours is error:
            raise error
        if not isinstance(ours, TransientStorageError):
            raise ours from error
        if is_timeout(error):
            count("timeouts", self._operation)
        self._doubtful += is_doubtful(error)
        elapsed_s = time.monotonic() - self._started
        is_early = self._made < self._policy.fewest_attempts
        left_s = math.inf if is_early else self._policy.total_s - elapsed_s
        pause_s = self._pause_s(error, left_s)
        self._in_vain += 1
        if self._doubtful >= self._policy.doubtful_attempts or left_s <= 0 or pause_s > left_s:
            if isinstance(error, StrangeAnswer) and error.lasting is not None:
                raise error.lasting from error
            problem = f"{ours.problem}; gave up after {self._made} attempts in {elapsed_s:.1f} s"
            raise TransientStorageError(problem, self._url) from error
        count("retries", self._operation)
        self._wait(pause_s)

    def progressed(self) -> None:
        """Something came: the attempts made so far were not in vain."""
        self._in_vain = self._doubtful = 0

    def succeeded(self) -> None:
        """The store answered as it should."""
        if self._pace is not None:
            self._pace.recover()

    def _pause_s(self, error: Exception, left_s: float) -> float:
        """Seconds before the next attempt: by chance, so that many clients do not ask in step, and no faster than the pace."""
        longest_s = min(self._policy.longest_delay_s, self._policy.first_delay_s * 2.0 ** min(self._in_vain, 60))
        pause_s = min(_jitter.uniform(0, longest_s), max(0.0, left_s))
        if self._pace is None:
            return pause_s
        if is_throttle(error):
            count("throttles", self._operation)
            self._pace.slow_down(retry_after_s(error))
        return max(pause_s, self._pace.reserve())

    def _wait(self, pause_s: float) -> None:
        if pause_s > 0:
            time.sleep(pause_s)


def retrying(operation: str, url: str, call: Callable[[], _Result], policy: RetryPolicy = DEFAULT_POLICY) -> _Result:
    """What `call` returns, tried again while the store's faults are transient.

    Args:
        operation: The name under which repeats are counted and which messages carry.
        url: The object or folder concerned.
        call: The operation; must be safe to repeat.
        policy: The bounds.

    Raises:
        TransientStorageError: The fault outlasted the policy.
        PermanentStorageError: The store gave an answer that will not change.
    """
    attempts = Attempts(operation, url, policy)
    while True:
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 (raised again by `failed` unless it passes by itself)
            attempts.failed(error)
            continue
        attempts.succeeded()
        return result
