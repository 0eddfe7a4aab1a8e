"""Every metric of the project, declared once. Dashboards, alert rules and the code refer to these and to nothing else.

Counters follow Prometheus: they start at zero with the job's process (or at the committed amount, for what is on
storage already) and never fall while it lives. Where a run has got to is a gauge, because a resumed run may step back.
"""

from pipeline.telemetry.metric import JobKind, Metric
from pipeline.telemetry.storage_declarations import (
    RANGE_CACHE_REQUESTS,
    STORAGE_READ_BYTES,
    STORAGE_RETRIES,
    STORAGE_THROTTLES,
    STORAGE_TIMEOUTS,
)

IMAGES_STREAMED = Metric(
    name="swissroll_images_streamed_total",
    kind="counter",
    unit="images",
    help="Images read, decoded and handed over by loaders.",
    source="workers",
    jobs=("train",),
)
IMAGES_TRAINED = Metric(
    name="swissroll_images_trained_total",
    kind="counter",
    unit="images",
    # Steps are counted, not work: a worker group that goes back to its last checkpoint adds nothing until it is past
    # the furthest step. Counted from the process's first step, so a resumed job looks to Prometheus like any restart.
    help="Images trained on since the job's process started: steps beyond its first, times the global batch size.",
    source="committed",
    jobs=("train",),
)
IMAGES_GENERATED = Metric(
    name="swissroll_images_generated_total",
    kind="counter",
    unit="images",
    help="Images sampled by generators since the job's process started, work that was repeated after a failure included.",
    source="workers",
    jobs=("generate",),
)

TRAIN_STEP = Metric(
    name="swissroll_train_step",
    kind="gauge",
    unit="steps",
    help="Optimizer step the run has reached; steps back to the last checkpoint when the run resumes.",
    source="workers",
    combine="max",
    jobs=("train",),
)
TARGET_STEPS = Metric(
    name="swissroll_target_steps",
    kind="gauge",
    unit="steps",
    help="Optimizer step at which the run is finished.",
    source="committed",
    jobs=("train",),
)
CHECKPOINT_STEP = Metric(
    name="swissroll_checkpoint_step",
    kind="gauge",
    unit="steps",
    help="Optimizer step of the last published checkpoint.",
    source="committed",
    jobs=("train",),
)
EPOCH = Metric(
    name="swissroll_epoch",
    kind="gauge",
    unit="epochs",
    help="Pass over the data that the trainers are in; the first is 0.",
    source="workers",
    combine="max",
    jobs=("train",),
)
TRAIN_LOSS = Metric(
    name="swissroll_train_loss",
    kind="gauge",
    unit="loss",
    help="Training loss of the latest reported steps, mean over trainers.",
    source="workers",
    combine="mean",
    jobs=("train",),
)
LEARNING_RATE = Metric(
    name="swissroll_learning_rate",
    kind="gauge",
    unit="learning rate",
    help="Learning rate of the latest reported step.",
    source="workers",
    combine="last",
    jobs=("train",),
)

TRAINER_DATA_WAIT_SECONDS = Metric(
    name="swissroll_trainer_data_wait_seconds_total",
    kind="counter",
    unit="seconds",
    help="Time trainers stood still for the next batch, summed over trainers.",
    source="workers",
    jobs=("train",),
)
TRAIN_STEP_SECONDS = Metric(
    name="swissroll_train_step_seconds_total",
    kind="counter",
    unit="seconds",
    help="Time trainers spent inside training steps, waiting for data excluded, summed over trainers.",
    source="workers",
    jobs=("train",),
)
LOADER_DEMAND_WAIT_SECONDS = Metric(
    name="swissroll_loader_demand_wait_seconds_total",
    kind="counter",
    unit="seconds",
    help="Time loaders stood still with a batch ready and nobody taking it, summed over loaders.",
    source="workers",
    jobs=("train",),
)
CORRUPT_MEMBERS = Metric(
    name="swissroll_corrupt_members_total",
    kind="counter",
    unit="members",
    help="Samples listed in the run's quarantine file because they cannot be decoded, those of earlier jobs included.",
    source="committed",
    jobs=("train",),
)
SAMPLES_REPLACED = Metric(
    name="swissroll_samples_replaced_total",
    kind="counter",
    unit="samples",
    help="Rows of batches filled by another sample because their own cannot be decoded.",
    source="workers",
    jobs=("train",),
)

PARTS_COMMITTED = Metric(
    name="swissroll_parts_committed_total",
    kind="counter",
    unit="parts",
    help="Parts of the output that are committed, those of earlier runs on the same output included.",
    source="committed",
    jobs=("generate",),
)
PART_COMMITTED_BYTES = Metric(
    name="swissroll_part_committed_bytes_total",
    kind="counter",
    unit="bytes",
    help="Size of the committed parts, those of earlier runs on the same output included.",
    source="committed",
    jobs=("generate",),
)
ROWS_COMMITTED = Metric(
    name="swissroll_rows_committed_total",
    kind="counter",
    unit="rows",
    help="Rows in committed parts, those of earlier runs on the same output included; each row counts once.",
    source="committed",
    jobs=("generate",),
)
TARGET_ROWS = Metric(
    name="swissroll_target_rows",
    kind="gauge",
    unit="rows",
    help="Rows the finished output will have.",
    source="committed",
    jobs=("generate",),
)

WORKERS_HUNG = Metric(
    name="swissroll_workers_hung_total",
    kind="counter",
    unit="workers",
    help="Generators killed since the job's process started because they did not finish a part in time.",
    source="committed",
    jobs=("generate",),
)
WORKER_RESTARTS = Metric(
    name="swissroll_worker_restarts_total",
    kind="counter",
    unit="restarts",
    help="Times a worker reported from a new attempt after an earlier one.",
    source="hub",
    jobs=("train", "generate"),
)
JOB_INFO = Metric(
    name="swissroll_job_info",
    kind="gauge",
    unit="info",
    help="Always 1; the labels say which job this is.",
    source="committed",
    # Not "job": that label belongs to Prometheus.
    labels=("job_kind", "run", "preset", "version"),
    jobs=("train", "generate"),
)

ALL_METRICS: tuple[Metric, ...] = (
    IMAGES_STREAMED,
    IMAGES_TRAINED,
    IMAGES_GENERATED,
    TRAIN_STEP,
    TARGET_STEPS,
    CHECKPOINT_STEP,
    EPOCH,
    TRAIN_LOSS,
    LEARNING_RATE,
    TRAINER_DATA_WAIT_SECONDS,
    TRAIN_STEP_SECONDS,
    LOADER_DEMAND_WAIT_SECONDS,
    CORRUPT_MEMBERS,
    SAMPLES_REPLACED,
    PARTS_COMMITTED,
    PART_COMMITTED_BYTES,
    ROWS_COMMITTED,
    TARGET_ROWS,
    STORAGE_RETRIES,
    STORAGE_THROTTLES,
    STORAGE_TIMEOUTS,
    STORAGE_READ_BYTES,
    RANGE_CACHE_REQUESTS,
    WORKERS_HUNG,
    WORKER_RESTARTS,
    JOB_INFO,
)
"""Every declared metric, in the order of the scrape."""


def metrics_of(job: JobKind) -> tuple[Metric, ...]:
    """The metrics that one kind of job exports, in the order of the scrape."""
    return tuple(metric for metric in ALL_METRICS if job in metric.jobs)
