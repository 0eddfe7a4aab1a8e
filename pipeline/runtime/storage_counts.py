"""What a process counted in storage, brought into its reports."""

from pipeline import storage
from pipeline.telemetry import (
    RANGE_CACHE_REQUESTS,
    STORAGE_READ_BYTES,
    STORAGE_RETRIES,
    STORAGE_THROTTLES,
    STORAGE_TIMEOUTS,
    Tally,
)


def reach_storage_counts(tally: Tally) -> None:
    """Brings a worker's counters up to what its process counted in storage."""
    counts = storage.counts()
    for operation, total in counts.retries.items():
        tally.reach(STORAGE_RETRIES, total, operation=operation)
    for operation, total in counts.throttles.items():
        tally.reach(STORAGE_THROTTLES, total, operation=operation)
    for operation, total in counts.timeouts.items():
        tally.reach(STORAGE_TIMEOUTS, total, operation=operation)
    for source, total in counts.read_bytes.items():
        tally.reach(STORAGE_READ_BYTES, total, source=source)
    for result, total in counts.cache.items():
        tally.reach(RANGE_CACHE_REQUESTS, total, result=result)
