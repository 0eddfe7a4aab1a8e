"""Metrics and progress: every metric declared once, workers' tallies, the hub that adds them up, the port, the bar.

`metric` says what a declaration is and `declarations` makes them all; a worker counts in a `Tally` and sends its `Report`;
`HubState` turns reports and committed state into true numbers; `Exporter` serves them; `ProgressReporter` shows them.
"""

from pipeline.telemetry.declarations import (
    ALL_METRICS,
    CHECKPOINT_STEP,
    CORRUPT_MEMBERS,
    EPOCH,
    IMAGES_GENERATED,
    IMAGES_STREAMED,
    IMAGES_TRAINED,
    JOB_INFO,
    LEARNING_RATE,
    LOADER_DEMAND_WAIT_SECONDS,
    PART_COMMITTED_BYTES,
    PARTS_COMMITTED,
    ROWS_COMMITTED,
    SAMPLES_REPLACED,
    TARGET_ROWS,
    TARGET_STEPS,
    TRAIN_LOSS,
    TRAIN_STEP,
    TRAIN_STEP_SECONDS,
    TRAINER_DATA_WAIT_SECONDS,
    WORKER_RESTARTS,
    WORKERS_HUNG,
    metrics_of,
)
from pipeline.telemetry.exporter import GENERATE_METRICS_PORT, PORTS_TRIED, TRAIN_METRICS_PORT, Exporter
from pipeline.telemetry.hub_state import HubState
from pipeline.telemetry.metric import JobKind, Metric, SeriesKey
from pipeline.telemetry.progress import ProgressPoint, ProgressReporter
from pipeline.telemetry.rates import RateWindow, RunRate
from pipeline.telemetry.storage_declarations import (
    RANGE_CACHE_REQUESTS,
    STORAGE_READ_BYTES,
    STORAGE_RETRIES,
    STORAGE_THROTTLES,
    STORAGE_TIMEOUTS,
)
from pipeline.telemetry.tally import Report, Tally

__all__ = [
    "ALL_METRICS",
    "CHECKPOINT_STEP",
    "CORRUPT_MEMBERS",
    "EPOCH",
    "GENERATE_METRICS_PORT",
    "IMAGES_GENERATED",
    "IMAGES_STREAMED",
    "IMAGES_TRAINED",
    "JOB_INFO",
    "LEARNING_RATE",
    "LOADER_DEMAND_WAIT_SECONDS",
    "PARTS_COMMITTED",
    "PART_COMMITTED_BYTES",
    "PORTS_TRIED",
    "RANGE_CACHE_REQUESTS",
    "ROWS_COMMITTED",
    "SAMPLES_REPLACED",
    "STORAGE_READ_BYTES",
    "STORAGE_RETRIES",
    "STORAGE_THROTTLES",
    "STORAGE_TIMEOUTS",
    "TARGET_ROWS",
    "TARGET_STEPS",
    "TRAINER_DATA_WAIT_SECONDS",
    "TRAIN_LOSS",
    "TRAIN_METRICS_PORT",
    "TRAIN_STEP",
    "TRAIN_STEP_SECONDS",
    "WORKERS_HUNG",
    "WORKER_RESTARTS",
    "Exporter",
    "HubState",
    "JobKind",
    "Metric",
    "ProgressPoint",
    "ProgressReporter",
    "RateWindow",
    "Report",
    "RunRate",
    "SeriesKey",
    "Tally",
    "metrics_of",
]
