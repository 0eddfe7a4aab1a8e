"""Diagonal Gaussians: divergence, reparameterisation, density, and the likelihood of 8-bit pixels.

A Gaussian is given by its mean and the logarithm of its standard deviation, tensors of one shape (or broadcastable).
Every function works element by element in nats: sum over the image for a sample's number, average for one dimension's.

Ref: Kingma & Welling 2013, arXiv 1312.6114, section 2.4 and appendix B; Ho et al. 2020, arXiv 2006.11239, eq. 13.
"""

import math

import torch
from torch import Tensor

PIXEL_WIDTH = 2.0 / 255.0
"""Distance of two 8-bit levels once [0, 255] is scaled to [-1, 1]."""


def kl_divergence(mean_1: Tensor, log_std_1: Tensor, mean_2: Tensor, log_std_2: Tensor) -> Tensor:
    """KL(N(mean_1, std_1^2) || N(mean_2, std_2^2)) of each dimension, in nats, never negative.

    `log(std_2 / std_1) + (std_1^2 + (mean_1 - mean_2)^2) / (2 std_2^2) - 1/2`.
    """
    log_ratio = log_std_1 - log_std_2
    # (std_1 / std_2)^2 - 1 - 2 log(std_1 / std_2), by expm1: equal Gaussians give exactly 0.
    spread = torch.expm1(2.0 * log_ratio) - 2.0 * log_ratio
    return 0.5 * (spread + (mean_1 - mean_2) ** 2 * torch.exp(-2.0 * log_std_2))


def kl_to_standard_normal(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of each dimension, in nats."""
    return 0.5 * (torch.expm1(2.0 * log_std) - 2.0 * log_std + mean**2)


def reparameterise(mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    """A draw from N(mean, std^2) made of a standard normal one: gradients flow through mean and log_std."""
    return mean + torch.exp(log_std) * noise


def log_density(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(x; mean, std^2) of each dimension, in nats."""
    return -0.5 * ((x - mean) * torch.exp(-log_std)) ** 2 - log_std - 0.5 * math.log(2.0 * math.pi)


def log_pixel_probability(x: Tensor, mean: Tensor, log_std: Tensor, width: float = PIXEL_WIDTH) -> Tensor:
    """Log of the mass N(mean, std^2) puts on the bin around x, in nats; the first and last bin are open outwards.

    The masses of all levels sum to one. Computed in float64 as a difference of log normal distribution functions, so that
    pixels a thousand standard deviations away have finite values and gradients, without a floor that would bias them.

    Args:
        x: Levels in [-1, 1], multiples of `width` from -1.
        mean: Any real number.
        log_std: Log standard deviation, in units of x.
        width: Distance of two levels.

    Returns:
        Log probability in the dtype of `mean`.

    Ref: arXiv 2006.11239, eq. 13.
    """
    std = torch.exp(log_std.to(torch.float64))
    center = (x.to(torch.float64) - mean.to(torch.float64)) / std
    half = 0.5 * width / std
    # By symmetry the bin at -|center| has the same mass, and log_ndtr is precise on the negative side.
    upper = torch.special.log_ndtr(half - center.abs())
    lower = torch.special.log_ndtr(-half - center.abs())
    inside = upper + torch.log(-torch.expm1(lower - upper))
    first, last = torch.special.log_ndtr(center + half), torch.special.log_ndtr(half - center)
    result = torch.where(x < -1.0 + 0.5 * width, first, torch.where(x > 1.0 - 0.5 * width, last, inside))
    return result.to(mean.dtype)
