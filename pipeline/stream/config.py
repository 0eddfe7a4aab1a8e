"""How a data set is streamed."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Literal

import tyro

from pipeline.arguments import expect, whole
from pipeline.errors import ConfigError
from pipeline.order import MixtureOrder, Order, OrderConfig, StreamOrder, default_lanes, key64
from pipeline.shards import MAX_PIXELS, ShardIndex

MAX_BATCH_SIZE = 2**20
"""Far beyond any batch that is trained with; a mistyped number must not be planned for hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Batches and their shuffling."""

    batch_size: Annotated[int, tyro.conf.arg(aliases=("--batch-size",))] = 256
    """Samples of a global batch, over all workers; a multiple of the number of workers."""
    lanes: int | None = None
    """Places of the data set that each batch mixes; divides the batch size. None: the largest divisor up to 16."""
    window: int = 1024
    """Samples shuffled with each other in a lane; more mixes better and takes more memory."""
    image_field: str = ""
    """Field of the samples that holds the image, in lower case, such as `left.png`; empty: the only one that does."""
    crop: Literal["center", "random"] = "center"
    """Which square of an image is shown: the largest from the middle, or another one in each epoch."""
    crop_min: float = 0.8
    """With random crops: the smallest side of the square, as a share of the image's short side."""
    flip: bool = False
    """Mirror half of the images, chosen anew in each epoch."""
    max_pixels: int = MAX_PIXELS
    """Largest image decoded, in pixels as stored; larger ones count as damaged. Decoding takes up to 28 bytes a pixel."""
    max_corrupt_share: float = 0.001
    """Share of the samples that may turn out to be damaged; they are replaced and listed. Above it the run stops."""

    def __post_init__(self) -> None:
        _check_whole(self, "batch_size", 1, MAX_BATCH_SIZE)
        _check_whole(self, "window", 1)
        if self.lanes is not None:
            _check_whole(self, "lanes", 1)
        if self.lanes is not None and self.batch_size % self.lanes:
            raise ConfigError(f"lanes must divide the batch size {self.batch_size}, got {self.lanes}")
        _check_view(self)
        expect(Real, "a number", max_corrupt_share=self.max_corrupt_share)
        if not 0 <= self.max_corrupt_share <= 1:
            raise ConfigError(f"max_corrupt_share must be 0 to 1, got {self.max_corrupt_share}")

    def corrupt_allowed(self, num_samples: int) -> int:
        """Returns how many of so many samples may be damaged; at least one, unless none are tolerated at all."""
        return max(1, int(self.max_corrupt_share * num_samples)) if self.max_corrupt_share else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What images are decoded to."""

    size: int
    """Height and width in pixels."""
    channels: int
    """1 for grey, 3 for RGB."""
    num_classes: int
    """Labels must be in [0, num_classes); 0 reads no labels."""
    image_field: str = ""
    """Field that holds the image; empty: the only one."""
    crop: Literal["center", "random"] = "center"
    """Which square is shown, see `StreamConfig`."""
    crop_min: float = 0.8
    """Smallest side of a random square, as a share of the short side."""
    flip: bool = False
    """Whether half of the images are mirrored."""
    max_pixels: int = MAX_PIXELS
    """Largest image decoded, in pixels as stored; larger ones count as damaged."""

    def __post_init__(self) -> None:
        _check_whole(self, "size", 1)
        expect(Integral, "1 or 3", channels=self.channels)
        if self.channels not in (1, 3):
            raise ConfigError(f"channels must be 1 or 3, got {self.channels}")
        _check_whole(self, "num_classes", 0)
        _check_view(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a decoded image."""
        return self.size, self.size, self.channels

    @property
    def image_bytes(self) -> int:
        """Bytes of a decoded image."""
        return self.size * self.size * self.channels


def _check_whole(config: "StreamConfig | ImageSpec", name: str, least: int, most: int | None = None) -> None:
    object.__setattr__(config, name, whole(name, getattr(config, name), least, most))


def _check_view(config: "StreamConfig | ImageSpec") -> None:
    """Refuses what cannot say which part of which image is shown; an image's description has it as a configuration has."""
    expect(str, "the name of a field, or an empty text for the only one", image_field=config.image_field)
    expect(bool, "True or False", flip=config.flip)
    if config.crop not in ("center", "random"):
        raise ConfigError(f"crop must be center or random, got {config.crop!r}")
    expect(Real, "a number", crop_min=config.crop_min)
    if not 0 < config.crop_min <= 1:
        raise ConfigError(f"crop_min must be above 0 and at most 1, got {config.crop_min}")
    _check_whole(config, "max_pixels", 1)


def make_order(index: ShardIndex, config: StreamConfig, seed: int) -> Order:
    """Returns the order in which a data set, or a mixture of several, is streamed.

    Raises:
        ConfigError: The configuration does not fit the number of samples.
    """
    lanes = config.lanes or default_lanes(config.batch_size, index.num_samples)
    counts = [shard.num_samples for shard in index.shards]
    if not index.sources:
        return StreamOrder(counts, OrderConfig(seed=seed, batch_size=config.batch_size, lanes=lanes, window=config.window))
    weights = [source.weight for source in index.sources]
    orders, first = [], 0
    for number, source in enumerate(index.sources):
        own = counts[first : first + source.num_shards]
        first += source.num_shards
        # Lanes in proportion to the rows that they give, so that all lanes go through their windows at about one pace.
        share = min(sum(own), max(1, round(lanes * source.weight / sum(weights))))
        order = OrderConfig(seed=key64(seed, "source", number), batch_size=share, lanes=share, window=config.window)
        orders.append(StreamOrder(own, order))
    return MixtureOrder(orders, weights, config.batch_size, seed)
