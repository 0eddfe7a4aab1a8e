"""Dropout whose masks belong to the samples: the same on every rank, in every batch and after every resume.

torch's own dropout asks a global generator, whose numbers depend on the rank, the batch and everything drawn before. Here a
network gets a source of numbers for each batch of training, and every layer asks it under its own name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError

Source = Callable[[str, tuple[int, ...]], Tensor]
"""source(name, shape) -> uint8 [B, *shape], uniform, the same for the same name, sample and epoch."""
_not_compiled = cast(Callable[[Callable[..., Tensor]], Callable[..., Tensor]], torch.compiler.disable)


class SampleDropout(nn.Module):
    """Sets numbers of a sample to 0 with a probability, and scales the others up so that means stay.

    Args:
        name: What the layer asks its source under; layers of other names drop other numbers.
        probability: Share that is dropped, in [0, 1), rounded to a multiple of 1/256 below 1.
    """

    def __init__(self, name: str, probability: float) -> None:
        super().__init__()
        self.name, self._dropped = name, min(255, round(256 * probability))
        self.source: Source | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x as it is in evaluation, with numbers dropped in training.

        Args:
            x: float [B, ...].

        Raises:
            ConfigError: In training, outside `masks_from`.
        """
        if not self.training or self._dropped == 0:
            return x
        return self._masked(x)

    @_not_compiled  # each step has a source of its own, for which a compiler would compile the network again
    def _masked(self, x: Tensor) -> Tensor:
        if self.source is None:
            raise ConfigError(f"dropout {self.name}: got no source of numbers in training, expected a call inside masks_from")
        kept = self.source(self.name, tuple(x.shape[1:])) >= self._dropped
        return x * kept * (256.0 / (256.0 - self._dropped))


def own_dropouts(module: nn.Module) -> None:
    """Replaces every dropout of torch below a module by one whose masks belong to the samples."""
    for name, inner in list(module.named_modules()):
        if isinstance(inner, nn.Dropout):
            module.set_submodule(name, SampleDropout(name, inner.p))


@contextmanager
def masks_from(network: nn.Module, source: Source) -> Iterator[None]:
    """Within it the dropouts of a network, if it has some, ask this source."""
    layers = [layer for layer in network.modules() if isinstance(layer, SampleDropout)]
    for layer in layers:
        layer.source = source
    try:
        yield
    finally:
        for layer in layers:
            layer.source = None
