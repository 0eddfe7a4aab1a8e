"""Averages of weights over training: profiles of any length, updated step by step, and their reconstruction afterwards.

The average of length sigma after t steps weighs the weights of time tau by the power function
`p(tau; t, gamma) = (gamma + 1) / t^(gamma+1) tau^gamma`, 0 <= tau <= t, whose standard deviation is sigma t. It keeps a
constant share of the past however long training goes on, and forgets the initial weights at the first step. Snapshots of one
or more such averages span the profile of any other length nearly; the best combination is a linear least-squares problem.

Ref: Karras et al. 2023, arXiv 2312.02696, section 3, appendix C.1 (profiles), C.2 (reconstruction), eqs. 123-129 and 145-152.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ConfigError

# gamma = 0, the plain mean of all weights, has the largest: 1 / sqrt(12).
LONGEST = 1.0 / math.sqrt(12.0)


class Profile(NamedTuple):
    """One average: when it was taken, and the exponent of its power function."""

    step: float
    """Steps done when it was taken, t."""
    gamma: float
    """Exponent of the weight of time tau."""


def exponent(length: float) -> float:
    """gamma of the power function whose standard deviation is `length` times the time covered.

    The positive root of `(gamma + 1) = length^2 (gamma + 2)^2 (gamma + 3)` (Ref: arXiv 2312.02696, eqs. 126-127).

    Raises:
        ConfigError: The length is not in (0, 1/sqrt(12)].
    """
    if not 0.0 < length <= LONGEST + 1e-9:
        raise ConfigError(f"length of a weight average: got {length}, expected above 0 to {LONGEST:.4f}")
    square = length**-2
    roots = np.roots([1.0, 7.0, 16.0 - square, 12.0 - square])
    return max(0.0, float(roots[np.abs(roots.imag) < 1e-6].real.max()))


def decay_at(length: float, step: int) -> float:
    """Share of the old average that step `step`, counted from 1, keeps: `(1 - 1/step)^(gamma+1)`.

    The product of these gives the weights of step tau the integral of the profile over [tau - 1, tau] exactly.
    """
    return (1.0 - 1.0 / step) ** (exponent(length) + 1.0)


def inner_product(a: Profile, b: Profile) -> float:
    """Integral of the product of two profiles (Ref: arXiv 2312.02696, eq. 151).

    For t_a <= t_b it is `(gamma_a + 1)(gamma_b + 1) / (gamma_a + gamma_b + 1) (t_a / t_b)^gamma_b / t_b`.
    """
    if a.step > b.step:
        a, b = b, a
    ratio = (a.step / b.step) ** b.gamma / b.step
    return (a.gamma + 1.0) * (b.gamma + 1.0) / (a.gamma + b.gamma + 1.0) * ratio


def reconstruction(stored: Sequence[Profile], wanted: Profile) -> tuple[NDArray[np.float64], float]:
    """Factors of stored averages whose sum is nearest to the wanted one, and how near that is.

    Args:
        stored: What there is; no two alike.
        wanted: The profile asked for.

    Returns:
        Factors, float64 [len(stored)], and the distance of the profiles as a share of the wanted one's norm, in [0, 1].
    """
    gram = np.array([[inner_product(a, b) for b in stored] for a in stored])
    target = np.array([inner_product(a, wanted) for a in stored])
    norm = inner_product(wanted, wanted)
    # Scaled to ones on the diagonal: profiles of early and late steps differ by orders of magnitude.
    scale = 1.0 / np.sqrt(np.diag(gram))
    factors = scale * np.linalg.lstsq(gram * np.outer(scale, scale), target * scale, rcond=1e-12)[0]
    missed = norm - 2.0 * factors @ target + factors @ gram @ factors
    return factors, math.sqrt(max(0.0, missed) / norm)


def combined(averages: Sequence[Mapping[str, Tensor]], factors: Sequence[float]) -> dict[str, Tensor]:
    """Sum of averages by their factors, taken in float64; tensors that are not floating point come from the last one."""
    result = {}
    for name, last in averages[-1].items():
        if not last.is_floating_point():
            result[name] = last.clone()
            continue
        total = torch.zeros_like(last, dtype=torch.float64)
        for average, factor in zip(averages, factors, strict=True):
            total.add_(average[name].to(torch.float64), alpha=factor)
        result[name] = total.to(last.dtype)
    return result
