"""Noise schedules: how much of the image is left after t steps of the forward process.

`q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)`; beta_t is a variance. alpha_t = 1 - beta_t, and
alpha_bar_t = prod_{s <= t} alpha_s falls from nearly 1 to nearly 0, so that x_T is nearly pure noise.

Ref: Ho et al. 2020, arXiv 2006.11239, section 2 (linear); Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17 (cosine);
Xu et al. 2022, arXiv 2203.02923 (sigmoid, GeoDiff); Kingma et al. 2021, arXiv 2107.00630, section 3.1 (log-SNR).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from pipeline.errors import ConfigError

ScheduleName = Literal["linear", "cosine", "sigmoid", "log-snr"]
"""The schedules that can be asked for by name."""

_LOG_SNR_RANGE = (13.3, -10.0)  # at time 0 the noise is far below one 8-bit level; at time 1 alpha_bar is 4.5e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Float64 tables of length T on the CPU; step t = 1..T of the paper's notation is entry t - 1."""

    name: str
    """What the schedule was made from."""
    beta: Tensor
    """Variance added at step t, in (0, 1)."""
    alpha: Tensor
    """1 - beta_t."""
    alpha_bar: Tensor
    """prod_{s <= t} alpha_s, strictly falling."""

    @property
    def timesteps(self) -> int:
        """Number of steps T."""
        return len(self.beta)

    def log_snr(self) -> Tensor:
        """log(alpha_bar_t / (1 - alpha_bar_t)), float64 [T], strictly falling."""
        return torch.log(self.alpha_bar) - torch.log1p(-self.alpha_bar)


def make_schedule(name: ScheduleName, timesteps: int) -> Schedule:
    """Schedule of T = timesteps steps.

    "linear" and "sigmoid" keep beta between 1e-4 and 0.02 whatever T is (as diffusers does), which is enough only for T
    near 1000; "cosine" and "log-snr" follow one curve in t / T.

    Raises:
        ConfigError: Unknown name, or fewer than two steps.
    """
    if timesteps < 2:
        raise ConfigError(f"schedule {name!r}: got timesteps={timesteps}, expected at least 2")
    if name == "linear":
        return from_beta(name, torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64))
    if name == "sigmoid":
        rise = torch.sigmoid(torch.linspace(-6.0, 6.0, timesteps, dtype=torch.float64))
        return from_beta(name, 1e-4 + (0.02 - 1e-4) * rise)
    if name == "cosine":
        return from_log_snr(name, cosine_log_snr, timesteps)
    if name == "log-snr":
        return from_log_snr(name, linear_log_snr, timesteps)
    raise ConfigError(f"schedule: got name {name!r}, expected one of {', '.join(get_args(ScheduleName))}")


def from_beta(name: str, beta: Tensor) -> Schedule:
    """Schedule with the given variances, float64 [T].

    Raises:
        ConfigError: A variance is outside (0, 1).
    """
    if not bool(((beta > 0.0) & (beta < 1.0)).all()):
        raise ConfigError(f"schedule {name!r}: got beta from {beta.min():.3g} to {beta.max():.3g}, expected inside (0, 1)")
    alpha = 1.0 - beta
    return Schedule(name=name, beta=beta, alpha=alpha, alpha_bar=torch.cumprod(alpha, dim=0))


def from_log_snr(name: str, log_snr: Callable[[Tensor], Tensor], timesteps: int, max_beta: float = 0.999) -> Schedule:
    """Schedule that follows a continuous log-SNR curve at the times t / T: beta_t = 1 - alpha_bar(t/T) / alpha_bar((t-1)/T).

    Args:
        name: What to call it.
        log_snr: Falling function of time in [0, 1], float64 in and out; alpha_bar = sigmoid(log_snr), and alpha_bar_0 = 1
            whatever the curve says at time 0.
        timesteps: T.
        max_beta: Largest beta; keeps the last step from erasing everything where the curve ends at alpha_bar = 0.
    """
    curve = torch.sigmoid(log_snr(torch.arange(timesteps + 1, dtype=torch.float64) / timesteps))
    curve = torch.cat([torch.ones(1, dtype=torch.float64), curve[1:]])
    return from_beta(name, torch.clamp(1.0 - curve[1:] / curve[:-1], max=max_beta))


def cosine_log_snr(time: Tensor, s: float = 0.008) -> Tensor:
    """log-SNR of alpha_bar(u) = f(u) / f(0), f(u) = cos^2((u + s) / (1 + s) * pi / 2); +inf at time 0, -inf at 1.

    Ref: arXiv 2102.09672, eq. 17. With a = (u + s) / (1 + s) * pi / 2 and a_0 its value at 0,
    1 - alpha_bar = (cos^2 a_0 - cos^2 a) / cos^2 a_0 = sin(a - a_0) sin(a + a_0) / cos^2 a_0, which does not cancel.

    Args:
        time: Any shape, u in [0, 1].
        s: Offset that keeps the first steps from being too small to see.
    """
    a, a_0 = (time + s) / (1.0 + s) * (math.pi / 2.0), s / (1.0 + s) * (math.pi / 2.0)
    return torch.log(torch.cos(a) ** 2) - torch.log(torch.sin(a - a_0) * torch.sin(a + a_0))


def linear_log_snr(time: Tensor) -> Tensor:
    """log-SNR that falls in a straight line, from 13.3 at time 0 to -10 at time 1 (Ref: arXiv 2107.00630, section 3.1).

    Args:
        time: Any shape, u in [0, 1].
    """
    first, last = _LOG_SNR_RANGE
    return first + (last - first) * time


def kl_to_prior_bits(schedule: Schedule, second_moment: float = 1.0 / 3.0) -> Tensor:
    """KL(q(x_t | x_0) || N(0, I)) in bits per dimension, float64 [T]: what x_t still knows of x_0.

    `1/2 [(1 - alpha_bar_t) + alpha_bar_t E[x_0^2] - 1 - log(1 - alpha_bar_t)]` nats.

    Args:
        schedule: The schedule asked about.
        second_moment: E[x_0^2] of one dimension; 1/3 is that of a uniform pixel in [-1, 1].
    """
    alpha_bar = schedule.alpha_bar
    # 1 - alpha_bar - 1 is written as -alpha_bar: at T the difference of the two numbers would be mostly rounding.
    nats = 0.5 * (alpha_bar * (second_moment - 1.0) - torch.log1p(-alpha_bar))
    return nats / math.log(2.0)


def smallest_sufficient_steps(schedule: Schedule, tolerance_bits: float, second_moment: float = 1.0 / 3.0) -> int | None:
    """First t whose x_t forgets x_0 to within the tolerance, or None where the schedule is too short for that.

    Args:
        schedule: The schedule asked about.
        tolerance_bits: Largest KL to the prior, in bits per dimension.
        second_moment: E[x_0^2] of one dimension.
    """
    below = torch.nonzero(kl_to_prior_bits(schedule, second_moment) < tolerance_bits)
    return int(below[0]) + 1 if len(below) else None
