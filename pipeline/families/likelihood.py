"""The last factor of every family, p(x | lowest latent): a diagonal Gaussian over densities, or over 8-bit levels."""

import math

from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.gaussians import log_density, log_pixel_probability


def reconstruction_term(x0: Tensor, mean: Tensor, log_std: Tensor, bin_width: float | None) -> Tensor:
    """-log p(x | lowest latent), [B] in nats per dimension.

    Args:
        x0: [B, ...] images.
        mean: Shape of x0.
        log_std: Broadcastable to x0.
        bin_width: Distance of two pixel levels, for the probability of a level; None for a density.
    """
    if bin_width is None:
        return -per_image_dimension(log_density(x0, mean, log_std), x0)
    return -per_image_dimension(log_pixel_probability(x0, mean, log_std, bin_width), x0)


def per_image_dimension(nats: Tensor, x0: Tensor) -> Tensor:
    """Sum over everything of a sample, divided by the number of its image's dimensions: [B].

    Args:
        nats: [B, ...], of any size a sample, such as a latent's.
        x0: [B, ...] images.
    """
    return nats.flatten(1).sum(1) / math.prod(x0.shape[1:])


def check_bin_width(field: str, bin_width: float | None) -> None:
    """Refuses a distance of pixel levels outside (0, 1].

    Raises:
        ConfigError: Names the field and the value.
    """
    if bin_width is not None and not 0.0 < bin_width <= 1.0:
        raise ConfigError(f"{field}: got {bin_width}, expected above 0 to 1, or None")
