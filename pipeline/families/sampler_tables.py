"""Sampler configuration, the timesteps it visits, and the table of float64 coefficients made of both, once a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal, get_args

from pipeline.errors import ConfigError
from pipeline.families.predictions import Prediction
from pipeline.families.sampler_rows import Level, SamplerRow, ancestral_rows, ddim_rows, heun_rows, multistep_rows
from pipeline.families.schedules import Schedule

SamplerName = Literal["ddpm", "ddpm-large", "ddim", "dpm++2m", "heun"]
"""ddpm and ddpm-large: ancestral, with the posterior's variance or beta; ddim; DPM-Solver++(2M); Heun's method."""
Clip = Literal["none", "clip", "dynamic"]
"""What happens to the view of x_0: nothing, clamping to [-1, 1], or dynamic thresholding."""
Spacing = Literal["auto", "trailing", "leading", "log-snr"]
"""Timesteps visited: evenly from T down, evenly from 1 up, or evenly in log-SNR from T to 1; auto chooses by sampler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """How x_0 is drawn from x_T."""

    name: SamplerName = "dpm++2m"
    """The sampler."""
    steps: int = 20
    """Number of steps S, at most T. One network evaluation each; Heun's method makes 2S - 1 evaluations."""
    eta: float = 0.0
    """Randomness of DDIM in [0, 1]: 0 makes x_0 a function of x_T alone, 1 is ancestral sampling. 0 for the others."""
    clip: Clip = "clip"
    """Treatment of the view of x_0. Use "none" for data that is not confined to [-1, 1]."""
    dynamic_quantile: float = 0.995
    """For clip="dynamic": the quantile of |x_0| in each image that is scaled down to 1 where it is above 1."""
    spacing: Spacing = "auto"
    """Timesteps visited. "auto" is log-snr for Heun's method, whose corrector divides by the next sigma and goes astray on
    the giant first step of even spacing, and trailing for the others; both begin at T, where x_T is pure noise."""

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("name", self.name, get_args(SamplerName)),
            ("clip", self.clip, get_args(Clip)),
            ("spacing", self.spacing, get_args(Spacing)),
        ):
            if value not in choices:
                raise ConfigError(f"SamplerConfig.{name}: got {value!r}, expected one of {', '.join(choices)}")
        if self.steps < 1:
            raise ConfigError(f"SamplerConfig.steps: got {self.steps}, expected at least 1")
        if not 0.0 <= self.eta <= (1.0 if self.name == "ddim" else 0.0):
            raise ConfigError(f"SamplerConfig.eta: got {self.eta} for {self.name}, expected 0 to 1 for ddim and 0 for others")
        if not 0.0 < self.dynamic_quantile <= 1.0:
            raise ConfigError(f"SamplerConfig.dynamic_quantile: got {self.dynamic_quantile}, expected above 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerTable:
    """The whole reverse process of one sampler on one schedule."""

    rows: tuple[SamplerRow, ...]
    """In the order of evaluation, from t = T down."""
    clip: Clip
    """Treatment of the view of x_0."""
    dynamic_quantile: float
    """Quantile for clip="dynamic"."""


def sampler_table(config: SamplerConfig, schedule: Schedule, prediction: Prediction) -> SamplerTable:
    """The rows of the configured sampler for a network that predicts `prediction` on `schedule`.

    Raises:
        ConfigError: More steps than the schedule has.
    """
    spacing = config.spacing
    if spacing == "auto":
        spacing = "log-snr" if config.name == "heun" else "trailing"
    return table_along(config, schedule, prediction, visited_timesteps(schedule, config.steps, spacing))


def visited_timesteps(schedule: Schedule, steps: int, spacing: Literal["trailing", "leading", "log-snr"]) -> list[int]:
    """The S + 1 times t_0 > ... > t_S = 0, in the paper's notation.

    Ref: Lin et al. 2023, arXiv 2305.08891, table 2 (leading, trailing); Lu et al. 2022, arXiv 2206.00927, section 3.4
    (even steps in log-SNR).

    Raises:
        ConfigError: Steps outside 1..T.
    """
    T = schedule.timesteps
    if not 1 <= steps <= T:
        raise ConfigError(f"sampler: got {steps} steps, expected 1 to the schedule's {T} timesteps")
    if spacing == "trailing":
        return [round(Fraction(T * (steps - k), steps)) for k in range(steps + 1)]
    if spacing == "leading":
        return [1 + T // steps * k for k in reversed(range(steps))] + [0]
    log_snr = schedule.log_snr()
    highest, lowest = float(log_snr[0]), float(log_snr[-1])
    times = [T]
    for k in range(1, steps):
        wanted = lowest + (highest - lowest) * k / (steps - 1)
        nearest = 1 + int((log_snr - wanted).abs().argmin())
        # Where the timesteps lie further apart than the even steps, neighbors must still differ, down to t = 1.
        times.append(max(min(nearest, times[-1] - 1), steps - k))
    return [*times, 0]


def table_along(config: SamplerConfig, schedule: Schedule, prediction: Prediction, times: Sequence[int]) -> SamplerTable:
    """The rows of the configured sampler along the given falling times; they may end above 0, at x of that time.

    Raises:
        ConfigError: The times do not fall, or leave 0..T.
    """
    falling = len(times) >= 2 and all(now > after for now, after in pairwise(times))
    if not falling or times[0] > schedule.timesteps or times[-1] < 0:
        raise ConfigError(f"sampler: got times {list(times)}, expected at least two falling ones in 0..{schedule.timesteps}")
    alpha_bar = [1.0, *schedule.alpha_bar.tolist()]
    path = [Level(t=t, a=math.sqrt(alpha_bar[t]), s=math.sqrt(1.0 - alpha_bar[t])) for t in times]
    if config.name == "ddim":
        rows = ddim_rows(path, prediction, eta=config.eta)
    elif config.name == "dpm++2m":
        rows = multistep_rows(path, prediction)
    elif config.name == "heun":
        rows = heun_rows(path, prediction)
    else:
        rows = ancestral_rows(path, prediction, large_variance=config.name == "ddpm-large")
    return SamplerTable(rows=tuple(rows), clip=config.clip, dynamic_quantile=config.dynamic_quantile)
