"""A compiled network's gradients are held against the plain one's before it trains.

torch 2.13's compiler gives gradients of zero to everything before an upsampling on CPUs, without a word; a run would learn less
and nothing would say so.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.errors import ConfigError

MAX_DIFFERENCE = 0.1
"""Norm of the difference as a share of the gradient's: rounding makes a hundredth of it, a lost branch most of it."""
LOST_SHARE = 1e-3
"""Norm of a parameter's gradient, as a share of the whole one's, from which on it cannot become zero by rounding."""


def check_gradients(parameters: list[Tensor], compiled: Callable[[], Tensor], plain: Callable[[], Tensor]) -> None:
    """Nothing if both losses have the same gradients but for rounding.

    One is through before the other begins; the plain one takes the memory that a step of the plain network takes.

    Args:
        parameters: Of the network.
        compiled: Returns the loss through the compiled network, a scalar.
        plain: Returns the same loss through the network as it is.

    Raises:
        ConfigError: They have not.
    """
    found, expected = (
        torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True) for loss in (compiled, plain)
    )
    norm = sum(float(e.square().sum()) for e in expected) ** 0.5
    difference = sum(float((f - e).square().sum()) for f, e in zip(found, expected, strict=True)) ** 0.5
    shares = [float(e.norm()) / norm if norm else 0.0 for e in expected]
    lost = sum(share > LOST_SHARE and not f.any() for f, share in zip(found, shares, strict=True))
    if lost or not difference <= MAX_DIFFERENCE * norm:
        share = difference / max(norm, 1e-30)
        raise ConfigError(
            f"compiled: got gradients that differ from the plain network's by {share:.0%}, {lost} of {len(found)} lost, "
            f"expected the same: torch {torch.__version__} compiles this network wrongly here; do without compiling"
        )
