"""Transient faults are tried again with exponential backoff and full jitter, within bounds, and counted."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.errors import ConfigError, TransientStorageError
from pipeline.storage.faults import in_our_words

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long a transient fault is waited out. The n-th pause is uniform in [0, min(longest, first * 2^n)]."""

    attempts: int = 8
    """Calls in all, the first included."""
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

_counts: Counter[str] = Counter()
_counts_lock = threading.Lock()
# Not the global generator: training owns that. Not a seeded one: forked processes would back off in step.
_jitter = random.SystemRandom()


def retries() -> dict[str, int]:
    """Attempts repeated in this process so far, by operation (`read_range`, `put_once`, ...); only ever grows."""
    with _counts_lock:
        return dict(_counts)


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
    started = time.monotonic()
    for attempt in range(policy.attempts):
        try:
            return call()
        except Exception as error:
            ours = in_our_words(error, url, operation)
            if ours is None or ours is error:
                raise
            if not isinstance(ours, TransientStorageError):
                raise ours from error
            pause_s = _jitter.uniform(0, min(policy.longest_delay_s, policy.first_delay_s * 2**attempt))
            elapsed_s = time.monotonic() - started
            if attempt + 1 == policy.attempts or elapsed_s + pause_s > policy.total_s:
                problem = f"{ours.problem}; gave up after {attempt + 1} attempts in {elapsed_s:.1f} s"
                raise TransientStorageError(problem, url) from error
        with _counts_lock:
            _counts[operation] += 1
        time.sleep(pause_s)
    raise AssertionError("unreachable: the last attempt returns or raises")
