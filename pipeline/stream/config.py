"""How a data set is streamed."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from pipeline.errors import ConfigError
from pipeline.order import OrderConfig, StreamOrder, default_lanes
from pipeline.shards import ShardIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Batches and their shuffling."""

    batch_size: Annotated[int, tyro.conf.arg(aliases=("--batch-size",))] = 256
    """Samples of a global batch, over all workers; a multiple of the number of workers."""
    lanes: int | None = None
    """Places of the data set that each batch mixes; divides the batch size. None: the largest divisor up to 16."""
    window: int = 1024
    """Samples shuffled with each other in a lane; more mixes better and takes more memory."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.window < 1:
            raise ConfigError(f"window must be at least 1, got {self.window}")
        if self.lanes is not None and (self.lanes < 1 or self.batch_size % self.lanes):
            raise ConfigError(f"lanes must divide the batch size {self.batch_size}, got {self.lanes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What images are decoded to."""

    size: int
    """Height and width in pixels."""
    channels: int
    """1 for grey, 3 for RGB."""
    num_classes: int
    """Labels must be in [0, num_classes); 0 reads no labels."""


def make_order(index: ShardIndex, config: StreamConfig, seed: int) -> StreamOrder:
    """Returns the order in which a data set is streamed.

    Raises:
        ConfigError: The configuration does not fit the number of samples.
    """
    lanes = config.lanes or default_lanes(config.batch_size, index.num_samples)
    counts = [shard.num_samples for shard in index.shards]
    return StreamOrder(counts, OrderConfig(seed=seed, batch_size=config.batch_size, lanes=lanes, window=config.window))
