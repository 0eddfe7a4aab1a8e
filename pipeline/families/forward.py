"""The forward (diffusion) process: a fixed Markov chain that turns an image into noise, and its closed forms.

Times are the paper's: x_0 is the image, t = 1..T. Images may have any shape [B, ...].
"""

from typing import Self

import torch
from torch import Tensor

from pipeline.families.schedules import Schedule


class ForwardProcess:
    """`q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)` for t = 1..T, with float64 tables on one device.

    Ref: Sohl-Dickstein et al. 2015, arXiv 1503.03585; Ho et al. 2020, arXiv 2006.11239, eqs. 2-7.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        one = torch.ones(1, dtype=torch.float64)
        # Entry t belongs to step t; entry 0 is the image itself: alpha_bar_0 = 1, beta_0 = 0.
        self.alpha_bar = torch.cat([one, schedule.alpha_bar])
        self.beta = torch.cat([0.0 * one, schedule.beta])

    @property
    def timesteps(self) -> int:
        """Number of steps T."""
        return self.schedule.timesteps

    def to(self, device: torch.device | str) -> Self:
        """This process, its tables moved to the device."""
        self.alpha_bar = self.alpha_bar.to(device)
        self.beta = self.beta.to(device)
        return self

    def signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(sqrt(alpha_bar_t), sqrt(1 - alpha_bar_t)), each [B, 1, ...] in the dtype of `like`.

        Args:
            t: int64 [B], 0..T.
            like: [B, ...], what the numbers will multiply.
        """
        alpha_bar = self.alpha_bar[t]
        return _column(alpha_bar.sqrt(), like), _column((1.0 - alpha_bar).sqrt(), like)

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t in one jump: `sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps`, shape of x0.

        Args:
            x0: [B, ...] images.
            t: int64 [B], 0..T.
            noise: Standard normal, shape of x0.
        """
        a, s = self.signal_and_noise(t, x0)
        return a * x0 + s * noise

    def q_step(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t from x_{t-1} in a single step: `sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps`, shape of x.

        Args:
            x: [B, ...], x_{t-1}.
            t: int64 [B], 1..T.
            noise: Standard normal, shape of x.
        """
        beta = self.beta[t]
        return _column((1.0 - beta).sqrt(), x) * x + _column(beta.sqrt(), x) * noise

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0), shape of x0.

        `sqrt(alpha_bar_{t-1}) beta_t / (1 - alpha_bar_t) x_0 + sqrt(alpha_t) (1 - alpha_bar_{t-1}) / (1 - alpha_bar_t) x_t`
        (Ref: arXiv 2006.11239, eq. 7).

        Args:
            x0: [B, ...] images, or what the network takes them to be.
            x_t: Noised images, shape of x0.
            t: int64 [B], 1..T.
        """
        beta, now, before = self.beta[t], self.alpha_bar[t], self.alpha_bar[t - 1]
        of_x0 = before.sqrt() * beta / (1.0 - now)
        of_x_t = (1.0 - beta).sqrt() * (1.0 - before) / (1.0 - now)
        return _column(of_x0, x0) * x0 + _column(of_x_t, x_t) * x_t

    def posterior_variance(self, t: Tensor) -> Tensor:
        """Variance of q(x_{t-1} | x_t, x_0): `(1 - alpha_bar_{t-1}) / (1 - alpha_bar_t) beta_t`, float64 [B]; 0 at t = 1.

        Args:
            t: int64 [B], 1..T.
        """
        return (1.0 - self.alpha_bar[t - 1]) / (1.0 - self.alpha_bar[t]) * self.beta[t]


def _column(values: Tensor, like: Tensor) -> Tensor:
    """float64 [B] as [B, 1, ...] in the dtype of `like`."""
    return values.to(like.dtype).view(-1, *(1 for _ in range(like.dim() - 1)))
