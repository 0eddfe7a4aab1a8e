"""The metrics of storage, the same in every job; `declarations` lists them with the others."""

from pipeline.telemetry.metric import Metric

STORAGE_RETRIES = Metric(
    name="swissroll_storage_retries_total",
    kind="counter",
    unit="retries",
    help="Storage operations repeated after a transient error, by operation.",
    source="workers",
    labels=("operation",),
    jobs=("train", "generate"),
)
STORAGE_THROTTLES = Metric(
    name="swissroll_storage_throttles_total",
    kind="counter",
    unit="answers",
    help="Answers of a store that asked to slow down (503, 429), by operation.",
    source="workers",
    labels=("operation",),
    jobs=("train", "generate"),
)
STORAGE_TIMEOUTS = Metric(
    name="swissroll_storage_timeouts_total",
    kind="counter",
    unit="attempts",
    help="Storage operations given up and repeated because the store stayed silent, by operation.",
    source="workers",
    labels=("operation",),
    jobs=("train", "generate"),
)
STORAGE_READ_BYTES = Metric(
    name="swissroll_storage_range_read_bytes_total",
    kind="counter",
    unit="bytes",
    help="Bytes of ranges read, by where they came from: local, remote or cache.",
    source="workers",
    labels=("source",),
    jobs=("train", "generate"),
)
RANGE_CACHE_REQUESTS = Metric(
    name="swissroll_range_cache_requests_total",
    kind="counter",
    unit="requests",
    help="Ranges asked of the node's cache, by result: hit, miss, damaged, not_stored.",
    source="workers",
    labels=("result",),
    jobs=("train",),
)
