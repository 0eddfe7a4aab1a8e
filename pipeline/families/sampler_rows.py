"""The mathematics of each sampler, as coefficients of one common update.

Whatever its theory, a sampler evaluates the network at x (time t) and then sets

    D      = to_x0 x + to_x0_output output           the network's view of x_0, then clipped
    x_next = on_x x + on_x0 D + on_x0_before D_before + on_x_before x_before + on_noise z

with "before" meaning the evaluation before. Notation: a_t = sqrt(alpha_bar_t), s_t = sqrt(1 - alpha_bar_t),
lambda_t = log(a_t / s_t), sigma_t = s_t / a_t; a step leads from t down to r < t, and r = 0 is the image (a = 1, s = 0).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from pipeline.families.predictions import Prediction, x0_coefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One visited time: how much of the image and of the noise there is in x_t."""

    t: int
    """Timestep, 0..T."""
    a: float
    """sqrt(alpha_bar_t)."""
    s: float
    """sqrt(1 - alpha_bar_t)."""

    @property
    def half_log_snr(self) -> float:
        """lambda_t = log(a_t / s_t); +inf at t = 0."""
        return math.log(self.a / self.s) if self.s > 0.0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerRow:
    """One network evaluation and the update after it; the formula is at the top of this module."""

    t: int
    """Timestep of the evaluation, the paper's 1..T."""
    to_x0: float
    """Factor of x in the view of x_0."""
    to_x0_output: float
    """Factor of the network's output in the view of x_0."""
    on_x: float
    """Factor of x."""
    on_x0: float
    """Factor of the clipped view of x_0."""
    on_x0_before: float = 0.0
    """Factor of the clipped view of x_0 of the row before."""
    on_x_before: float = 0.0
    """Factor of the x of the row before."""
    on_noise: float = 0.0
    """Standard deviation of fresh noise."""


def ancestral_rows(path: list[Level], prediction: Prediction, *, large_variance: bool) -> list[SamplerRow]:
    """Ancestral sampling: x_r ~ N(mean of q(x_r | x_t, D), variance), along a subsequence of the timesteps.

    With alpha = alpha_bar_t / alpha_bar_r and beta = 1 - alpha, the mean is
    `a_r beta / s_t^2 D + sqrt(alpha) s_r^2 / s_t^2 x` and the variance `s_r^2 / s_t^2 beta` (small) or beta (large).
    Nothing is added in the last step.

    Ref: Ho et al. 2020, arXiv 2006.11239, eqs. 6, 7 and algorithm 2.
    """
    rows = []
    for now, after in pairwise(path):
        alpha = (now.a / after.a) ** 2
        beta = 1.0 - alpha
        variance = beta if large_variance else (after.s / now.s) ** 2 * beta
        rows.append(
            _row(
                now,
                prediction,
                on_x=math.sqrt(alpha) * (after.s / now.s) ** 2,
                on_x0=after.a * beta / now.s**2,
                on_noise=math.sqrt(variance) if after.s > 0.0 else 0.0,
            )
        )
    return rows


def ddim_rows(path: list[Level], prediction: Prediction, *, eta: float) -> list[SamplerRow]:
    """DDIM: `x_r = a_r D + sqrt(s_r^2 - sd^2) (x - a_t D) / s_t + sd z`.

    Here sd = eta s_r / s_t sqrt(1 - alpha_bar_t / alpha_bar_r): eta = 0 is deterministic, eta = 1 ancestral sampling.
    The noise direction (x - a_t D) / s_t is that of the clipped D, so that x_r stays on the scale of its time.

    Ref: Song et al. 2020, arXiv 2010.02502, eqs. 12 and 16.
    """
    rows = []
    for now, after in pairwise(path):
        sd = eta * after.s / now.s * math.sqrt(1.0 - (now.a / after.a) ** 2)
        direction = math.sqrt(after.s**2 - sd**2) / now.s
        rows.append(_row(now, prediction, on_x=direction, on_x0=after.a - direction * now.a, on_noise=sd))
    return rows


def multistep_rows(path: list[Level], prediction: Prediction) -> list[SamplerRow]:
    """DPM-Solver++(2M): the exponential integrator in lambda, with D extrapolated linearly from the two last evaluations.

    `x_r = s_r / s_t x - a_r (e^-h - 1) [(1 + 1/(2 rho)) D - 1/(2 rho) D_before]`, h = lambda_r - lambda_t, rho = h_before / h.
    The first step has no D_before, and the step to the image (h infinite) returns D itself.

    Ref: Lu et al. 2022, arXiv 2211.01095, algorithm 2.
    """
    rows = []
    for k, (now, after) in enumerate(pairwise(path)):
        h = after.half_log_snr - now.half_log_snr
        of_x0 = -after.a * math.expm1(-h)
        extrapolation = 0.0
        if k > 0 and after.s > 0.0:
            h_before = now.half_log_snr - path[k - 1].half_log_snr
            extrapolation = h / (2.0 * h_before)
        rows.append(
            _row(
                now,
                prediction,
                on_x=after.s / now.s,
                on_x0=of_x0 * (1.0 + extrapolation),
                on_x0_before=-of_x0 * extrapolation,
            )
        )
    return rows


def heun_rows(path: list[Level], prediction: Prediction) -> list[SamplerRow]:
    """Heun's method on the probability-flow equation `d(x/a) / d sigma = (x/a - D) / sigma`; two rows a step, one in the last.

    The predictor is Euler's step (which is DDIM's); the corrector evaluates there and takes the mean of both slopes. The
    step to the image is Euler's alone, for the slope at sigma = 0 does not exist.

    Ref: Karras et al. 2022, arXiv 2206.00364, algorithm 1 and eq. 4.
    """
    rows = []
    for now, after in pairwise(path):
        ratio = after.s / now.s
        rows.append(_row(now, prediction, on_x=ratio, on_x0=after.a - ratio * now.a))
        if after.s > 0.0:
            sigma, sigma_after = now.s / now.a, after.s / after.a
            half_step = 0.5 * (sigma_after - sigma)
            rows.append(
                _row(
                    after,
                    prediction,
                    on_x=half_step / sigma_after,
                    on_x0=-after.a * half_step / sigma_after,
                    on_x0_before=-after.a * half_step / sigma,
                    on_x_before=after.a / now.a * (1.0 + half_step / sigma),
                )
            )
    return rows


def _row(
    now: Level,
    prediction: Prediction,
    *,
    on_x: float,
    on_x0: float,
    on_x0_before: float = 0.0,
    on_x_before: float = 0.0,
    on_noise: float = 0.0,
) -> SamplerRow:
    to_x0, to_x0_output = x0_coefficients(prediction, now.a, now.s)
    return SamplerRow(
        t=now.t,
        to_x0=to_x0,
        to_x0_output=to_x0_output,
        on_x=on_x,
        on_x0=on_x0,
        on_x0_before=on_x0_before,
        on_x_before=on_x_before,
        on_noise=on_noise,
    )
