"""What storage counted in this process, in totals that only ever grow."""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal

Count = Literal["retries", "throttles", "timeouts", "read_bytes", "cache"]
"""What is counted; see `StorageCounts`."""

_counters: dict[Count, Counter[str]] = {"retries": Counter(), "throttles": Counter(), "timeouts": Counter()}
_counters |= {"read_bytes": Counter(), "cache": Counter()}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCounts:
    """Totals of this process; the names under which things are counted come from small fixed sets."""

    retries: dict[str, int]
    """Attempts repeated, by operation (`read_range`, `put_once`, ...)."""
    throttles: dict[str, int]
    """Answers that asked to slow down (503, 429), by operation."""
    timeouts: dict[str, int]
    """Attempts given up because the store stayed silent, by operation."""
    read_bytes: dict[str, int]
    """Bytes of ranges read, by where they came from: `local`, `remote` or `cache`."""
    cache: dict[str, int]
    """Ranges asked of the cache, by result: `hit`, `miss`, `damaged` (fetched again), `not_stored` (full disk, too large)."""


def count(what: Count, name: str, amount: int = 1) -> None:
    """Adds to one of the totals."""
    with _lock:
        _counters[what][name] += amount


def counts() -> StorageCounts:
    """Returns the totals as they are now."""
    with _lock:
        return StorageCounts(**{what: dict(counter) for what, counter in _counters.items()})
