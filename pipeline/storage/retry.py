"""Transient faults are tried again with exponential backoff and full jitter, within bounds, and counted."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.errors import ConfigError, TransientStorageError
from pipeline.storage.counts import count
from pipeline.storage.faults import in_our_words, is_throttle, is_timeout, retry_after_s
from pipeline.storage.pace import Paces
from pipeline.storage.urls import is_local

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a transient fault is waited out. The n-th pause is uniform in [0, min(longest, first * 2^n)]."""

    attempts: int = 8
    """Calls in all, the first included; in a ranged read, calls that brought no byte."""
    first_delay_s: float = 0.2
    """Upper end of the first pause."""
    longest_delay_s: float = 15.0
    """Upper end of any pause."""
    total_s: float = 120.0
    """No further attempt is started after this time since the first."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError(f"RetryPolicy.attempts: got {self.attempts}, expected at least 1")
        for name in ("first_delay_s", "longest_delay_s", "total_s"):
            if getattr(self, name) < 0:
                raise ConfigError(f"RetryPolicy.{name}: got {getattr(self, name)}, expected at least 0")


DEFAULT_POLICY = RetryPolicy()
"""Rides out a throttled or restarting store, and gives up after two minutes."""

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
        self._in_vain = 0
        self._wait(self._pace.reserve() if self._pace else 0.0)

    def failed(self, error: Exception) -> None:
        """Waits before another attempt.

        Raises:
            TransientStorageError: The fault outlasted the policy.
            PermanentStorageError: The store gave an answer that will not change.
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
        policy = self._policy
        pause_s = _jitter.uniform(0, min(policy.longest_delay_s, policy.first_delay_s * 2**self._in_vain))
        self._in_vain += 1
        if self._pace is not None:
            if is_throttle(error):
                count("throttles", self._operation)
                self._pace.slow_down(retry_after_s(error))
            pause_s = max(pause_s, self._pace.reserve())
        elapsed_s = time.monotonic() - self._started
        if self._in_vain >= policy.attempts or elapsed_s + pause_s > policy.total_s:
            problem = f"{ours.problem}; gave up after {self._made} attempts in {elapsed_s:.1f} s"
            raise TransientStorageError(problem, self._url) from error
        count("retries", self._operation)
        self._wait(pause_s)

    def progressed(self) -> None:
        """Something came: the attempts made so far were not in vain."""
        self._in_vain = 0

    def succeeded(self) -> None:
        """The store answered as it should."""
        if self._pace is not None:
            self._pace.recover()

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
