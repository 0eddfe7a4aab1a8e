"""What decides an order, and the forms in which it answers."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.order.lanes import WindowSpan

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderConfig:
    """What, besides the shards, decides the order."""

    seed: int
    """Seed of all shuffling."""
    batch_size: int
    """Samples of a global batch, over all ranks."""
    lanes: int
    """Places of the data set that each batch mixes; divides batch_size."""
    window: int
    """Samples shuffled with each other in a lane; lanes x window encoded samples are held in memory by all loaders together."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "lanes", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch_size % self.lanes:
            raise ConfigError(f"lanes must divide the batch size {self.batch_size}, got {self.lanes}")


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a global batch; four int64 arrays of one length."""

    epoch: Ints
    """Epoch of each row, from 0."""
    shard: Ints
    """Shard number in the index."""
    member: Ints
    """Sample number in the shard."""
    sample: Ints
    """Number of the sample in the whole data set; its identity for keyed randomness."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples [start, stop) of one shard."""

    shard: int
    start: int
    stop: int


class LanePart(NamedTuple):
    """Consecutive samples of one lane, counted from the lane's first sample of epoch 0 on through all epochs."""

    lane: int
    first: int
    """First sample, inclusive."""
    last: int
    """Last sample, exclusive."""


class LaneWindow(NamedTuple):
    """Where a window lies in its lane, counted as in `LanePart`."""

    start: int
    """First sample, inclusive."""
    stop: int
    """Last sample, exclusive."""
    epoch: int
    """Epoch of the window."""
    span: WindowSpan
    """The window as the epoch counts it."""


class Stretch(NamedTuple):
    """Consecutive rows of a batch that come from one window: its shuffled samples [first, last)."""

    epoch: int
    """Epoch of the rows."""
    lane: int
    """The lane that holds the window."""
    span: WindowSpan
    """The window."""
    first: int
    """First sample, inclusive; counted in the window's shuffled order."""
    last: int
    """Last sample, exclusive."""


class Place(NamedTuple):
    """Where consecutive rows of a batch lie: all in one window."""

    epoch: int
    """Epoch of the rows."""
    lane: int
    """The lane that holds the window."""
    span: WindowSpan
    """The window."""
    positions: Ints
    """Row after row, the sample's position in the window, int64."""
