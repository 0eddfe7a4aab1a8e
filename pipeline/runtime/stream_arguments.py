"""The arguments of `stream`: they come from Python, without the checks of a command line."""

import math
import os
from numbers import Real
from types import NoneType

import torch
import torch.distributed as dist

from pipeline.arguments import expect, whole
from pipeline.errors import ConfigError
from pipeline.storage import RangeCache
from pipeline.stream import ImageSpec, StreamConfig

_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "data": ((str, os.PathLike), "one URL or pattern; several are named by braces, a folder or a .txt list"),
    "image": (ImageSpec, "an ImageSpec"),
    "config": (StreamConfig, "a StreamConfig, or batch_size= in its place"),
    "cpus_per_loader": (Real, "a number"),
    "share_cpus": (bool, "True or False"),
    "pin": (bool, "True or False"),
    "cache": ((RangeCache, NoneType), "RangeCache(folder=..., max_bytes=...) or None"),
    "quarantine": ((str, os.PathLike, NoneType), "a folder or None"),
}
"""What the arguments of `stream` may be that are no whole numbers."""


def check_arguments(image: ImageSpec, config: StreamConfig, cpus_per_loader: float, *, pin: bool, **others: object) -> None:
    """Refuses what `Stream` cannot work with, before anything is done with one of them.

    Args:
        image: What images are decoded to.
        config: Batches and shuffling.
        cpus_per_loader: CPUs that Ray reserves for each loader.
        pin: Whether to put batches into page-locked memory.
        others: Further ones, by their names.

    Raises:
        ConfigError: One is of another kind, or does not fit.
    """
    for name, value in {"image": image, "config": config, "cpus_per_loader": cpus_per_loader, "pin": pin, **others}.items():
        expect(*_KINDS[name], **{name: value})
    if not 0 < cpus_per_loader < math.inf:
        raise ConfigError(f"cpus_per_loader must be above 0, got {cpus_per_loader!r}")
    if pin and not torch.cuda.is_available():
        raise ConfigError("got pin=True, expected it only where there is CUDA to copy to")
    _check_image(config, image)


def whole_numbers(**numbers: int) -> tuple[int, ...]:
    """Python's own integers of what may be numpy's, in the order given.

    Args:
        numbers: Whole numbers above 0, by the arguments' names; the seed may be any.

    Raises:
        ConfigError: One is none.
    """
    return tuple(whole(name, value, None if name == "seed" else 1) for name, value in numbers.items())


def chosen_config(config: StreamConfig | None, batch_size: int | None) -> StreamConfig:
    """Returns the configuration that one of the two stands for; the default one where there is neither.

    Args:
        config: Batches and shuffling.
        batch_size: Samples of a global batch, instead of a configuration.

    Raises:
        ConfigError: Both are given, or there is no such batch size.
    """
    if batch_size is not None and config is not None:
        raise ConfigError("got both a configuration and batch_size, expected one of them")
    if config is not None:
        return config
    return StreamConfig() if batch_size is None else StreamConfig(batch_size=batch_size)


def consumer_place(rank: int | None, world_size: int | None, batch_size: int) -> tuple[int, int]:
    """(rank, world size) of a consumer.

    Args:
        rank: Its number; None for that of torch.distributed where it is initialised, else 0.
        world_size: Number of consumers; None likewise, else 1.
        batch_size: Samples of a global batch, which they share.

    Raises:
        ConfigError: Only one of them is given, one is no whole number, there is no such rank, or consumers would have different
            shares.
    """
    if rank is None and world_size is None:
        with_torch = dist.is_available() and dist.is_initialized()
        rank, world_size = (dist.get_rank(), dist.get_world_size()) if with_torch else (0, 1)
    if rank is not None and world_size is not None:
        rank, world_size = whole("rank", rank), whole("world_size", world_size)
    if rank is None or world_size is None or not 0 <= rank < world_size:
        raise ConfigError(f"got rank {rank} of {world_size} consumers, expected both, with rank from 0 to world_size - 1")
    if batch_size % world_size:
        raise ConfigError(f"batch size {batch_size} cannot be split over {world_size} consumers")
    return rank, world_size


def _check_image(config: StreamConfig, image: ImageSpec) -> None:
    """Refuses a configuration that asks for other images than the image's own description."""
    for name in ("image_field", "crop", "crop_min", "flip", "max_pixels"):
        here, there = getattr(config, name), getattr(image, name)
        if here not in (there, getattr(StreamConfig(), name)):
            raise ConfigError(
                f"{name} is {here!r} in the configuration and {there!r} in the image's, expected it in the latter"
            )
