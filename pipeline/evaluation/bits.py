"""Bits per dimension: how well a model explains images, the one figure that all families can be compared by."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families import Draws
from pipeline.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class BitsPerDim:
    """The negative evidence lower bound of a set of images, in bits per dimension."""

    samples: int
    """Images it is the mean of."""
    mean: float
    """Mean over the images: the smaller the better; an upper bound on what a perfect code by the model would take."""
    standard_error: float
    """Of the mean, from the scatter over images and draws."""
    terms: dict[str, float]
    """Means of the named summands."""
    terms_standard_error: dict[str, float]
    """Their standard errors."""


class BitsMeter:
    """Collects bounds batch by batch; the numbers of every image are kept, so that batches do not matter."""

    def __init__(self) -> None:
        self._bits: dict[str, list[Tensor]] = {}

    def add(self, model: Model, images: Tensor, labels: Tensor | None, numbers: Tensor, seed: int) -> None:
        """Takes in a batch.

        Args:
            model: With trained weights, in evaluation mode.
            images: uint8 [B, C, H, W].
            labels: int64 [B], ignored by a model without labels.
            numbers: int64 [B], number of each image in the data set: with the seed it decides all randomness.
            seed: Seed of the draws.
        """
        bound = model.bound(images, labels, Draws(seed=seed, samples=numbers, epochs=torch.zeros_like(numbers)))
        for name, nats in {"": bound.total, **bound.terms}.items():
            self._bits.setdefault(name, []).append(nats.to(torch.float64).cpu() / math.log(2.0))

    def result(self) -> BitsPerDim:
        """Returns the figure over all images so far.

        Raises:
            ConfigError: Fewer than two images: a standard error needs a scatter.
        """
        bits = {name: torch.cat(parts) for name, parts in self._bits.items()}
        count = len(bits.get("", ()))
        if count < 2:
            raise ConfigError(f"bits per dimension need at least 2 images, got {count}")
        means = {name: float(values.mean()) for name, values in bits.items()}
        errors = {name: float(values.std() / math.sqrt(count)) for name, values in bits.items()}
        return BitsPerDim(
            samples=count,
            mean=means.pop(""),
            standard_error=errors.pop(""),
            terms=means,
            terms_standard_error=errors,
        )


def spread_over(counts: Iterable[int], wanted: int) -> list[int]:
    """Returns how many samples to take from each shard, in proportion to its size, `wanted` in all.

    Args:
        counts: Samples of each shard.
        wanted: Samples in all; at most their sum is given.
    """
    sizes = list(counts)
    total, seen, given, result = sum(sizes), 0, 0, []
    for size in sizes:
        seen += size
        share = seen * min(wanted, total) // max(1, total) - given
        given += share
        result.append(share)
    return result
