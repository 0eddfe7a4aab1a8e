"""The arguments of `stream`: they come from Python, without the checks of a command line."""

import math
from numbers import Integral

import torch
import torch.distributed as dist

from pipeline.errors import ConfigError
from pipeline.stream import ImageSpec, StreamConfig


def check_resources(cpus_per_loader: float, pin: bool) -> None:
    """Refuses what no loader can be given, or no batch.

    Args:
        cpus_per_loader: As that of `Stream`.
        pin: Likewise.

    Raises:
        ConfigError: One does not fit.
    """
    if not 0 < cpus_per_loader < math.inf:
        raise ConfigError(f"cpus_per_loader must be above 0, got {cpus_per_loader!r}")
    if pin and not torch.cuda.is_available():
        raise ConfigError("got pin=True, expected it only where there is CUDA to copy to")


def whole_numbers(**numbers: int) -> tuple[int, ...]:
    """Python's own integers of what may be numpy's, in the order given.

    Args:
        numbers: Whole numbers above 0, by the arguments' names; the seed may be any.

    Raises:
        ConfigError: One is none.
    """
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ConfigError(f"{name} must be a whole number, got {value!r}")
        if name != "seed" and value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    return tuple(map(int, numbers.values()))


def check_image(config: StreamConfig, image: ImageSpec) -> None:
    """Refuses a configuration that asks for other images than the image's own description.

    Args:
        config: Batches and shuffling.
        image: What images are decoded to.

    Raises:
        ConfigError: Both say something, and not the same.
    """
    for name in ("image_field", "crop", "crop_min", "flip", "max_pixels"):
        here, there = getattr(config, name), getattr(image, name)
        if here not in (there, getattr(StreamConfig(), name)):
            raise ConfigError(
                f"{name} is {here!r} in the configuration and {there!r} in the image's, expected it in the latter"
            )


def consumer_place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """(rank, world size) of a consumer.

    Args:
        rank: Its number; None for that of torch.distributed where it is initialised, else 0.
        world_size: Number of consumers; None likewise, else 1.

    Raises:
        ConfigError: Only one of them is given, or there is no such rank.
    """
    if rank is None and world_size is None:
        return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
    if not isinstance(rank, Integral) or not isinstance(world_size, Integral) or not 0 <= rank < world_size:
        raise ConfigError(f"got rank {rank} of {world_size} consumers, expected both, with rank from 0 to world_size - 1")
    return int(rank), int(world_size)
