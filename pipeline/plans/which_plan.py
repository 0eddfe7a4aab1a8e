"""Which samples one step of a run saw: read from the plan of the run, its order and its shards."""

from dataclasses import dataclass

from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.order import Order
from pipeline.plans.train_config import TrainConfig
from pipeline.plans.train_plan import image_spec
from pipeline.shards import ShardIndex, open_data, read_samples
from pipeline.stream import BatchArrays, CorruptSample, SliceReader, make_order

MAX_SAMPLES_SEEN = 2**60
"""Beyond any run; rows are counted in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSample:
    """One row of a batch."""

    row: int
    """Row of the global batch."""
    epoch: int
    """Pass over its data set, from 0."""
    sample: int
    """Number of the sample in the data set."""
    uri: str
    """The shard."""
    offset: int
    """Where the sample begins in the shard, in bytes."""
    key: str
    """The sample's name in the shard."""
    label: int
    """The class that was trained on; -1 where no labels are."""


@dataclass(frozen=True, slots=True)
class SeenStep:
    """What one step of a run was given."""

    rows: list[SeenSample]
    """All rows of the global batch."""
    batch: BatchArrays
    """Their pixels, as the model saw them."""
    damaged: list[CorruptSample]
    """Samples that others stood in for."""


def seen_step(config: TrainConfig, step: int, *, columns: int = 1) -> SeenStep:
    """Returns what a step of a run was given, from the data and the configuration alone.

    Args:
        config: The run's configuration.
        step: The step as progress and the loss curve count them: the first is 1.

        columns: Images a line of a picture of it.

    Raises:
        ConfigError: There is no data, no such step, or no such picture, or the data is damaged or missing.
        TransientStorageError: The store does not answer.
    """
    if not config.data:
        raise ConfigError("--data is missing; expected a path or URL, or --run-dir of a run")
    if columns < 1:
        raise ConfigError(f"columns must be at least 1, got {columns}")
    if step < 1:
        raise ConfigError(f"step must be at least 1, got {step}; the first step of a run is 1")
    try:
        index = open_data(config.data)
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(str(error)) from error
    order = make_order(index, config.stream, config.seed)
    if step * order.batch_size > MAX_SAMPLES_SEEN:
        raise ConfigError(f"step must be at most {MAX_SAMPLES_SEEN // order.batch_size}, got {step}")
    try:
        return _read_step(index, order, config, step)
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(str(error)) from error  # nothing is started here: as where training is planned, the user's to mend


def _read_step(index: ShardIndex, order: Order, config: TrainConfig, step: int) -> SeenStep:
    damaged: list[CorruptSample] = []
    reader = SliceReader(index, order, image_spec(config), 0, order.batch_size, on_corrupt=damaged.append)
    try:
        batch = reader.batch(step - 1)
    finally:
        reader.close()
    found = order.rows(step - 1)
    rows = []
    for row in range(order.batch_size):
        raw = read_samples(index, int(found.shard[row]), int(found.member[row]), int(found.member[row]) + 1)[0]
        rows.append(
            SeenSample(
                row=row,
                epoch=int(found.epoch[row]),
                sample=int(found.sample[row]),
                uri=raw.uri,
                offset=raw.offset,
                key=raw.key,
                label=int(batch.labels[row]),
            )
        )
    return SeenStep(rows, batch, damaged)
