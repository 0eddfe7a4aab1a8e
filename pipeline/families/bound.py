"""The terms of the diffusion model's evidence lower bound, in nats per dimension.

`-ELBO = KL(q(x_T|x_0) || N(0, I)) + sum_{t=2..T} KL(q(x_{t-1}|x_t,x_0) || p(x_{t-1}|x_t)) - log p(x_0|x_1)`,
with expectations over x_t ~ q(x_t|x_0). The reverse variance is that of the posterior for t >= 2, where the divergence
is a multiple of the squared error in x_0; at t = 1 the posterior's variance is 0, and the decoder takes beta_1, the
variance of q(x_0|x_1) for data that is smooth at that scale.

Ref: Ho et al. 2020, arXiv 2006.11239, eqs. 5-8 and 13; Kingma et al. 2021, arXiv 2107.00630, eq. 13.
"""

import torch
from torch import Tensor

from pipeline.families.forward import ForwardProcess
from pipeline.families.likelihood import reconstruction_term


def prior_term(process: ForwardProcess, x0: Tensor) -> Tensor:
    """KL(q(x_T | x_0) || N(0, I)), [B] in nats per dimension: what the last latent still knows of the image.

    Args:
        process: The forward process.
        x0: [B, ...] images.
    """
    alpha_bar = process.alpha_bar[-1]
    second_moment = x0.to(torch.float64).square().flatten(1).mean(1)
    return (0.5 * (alpha_bar * (second_moment - 1.0) - torch.log1p(-alpha_bar))).to(x0.dtype)


def diffusion_term(process: ForwardProcess, x0: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor:
    """KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), [B] in nats per dimension, for t >= 2; 0 where t = 1.

    Both have the posterior's variance, so that only the means differ, by the error in x_0:
    `1/2 (SNR(t-1) - SNR(t)) (x_0 - x0_hat)^2` (Ref: arXiv 2107.00630, eq. 13).

    Args:
        process: The forward process.
        x0: [B, ...] images.
        x0_hat: The network's view of x0 from x_t.
        t: int64 [B], 1..T.
    """
    now, before = process.alpha_bar[t], process.alpha_bar[t - 1]
    # SNR(0) is infinite: at t = 1 any finite number will do, for the weight becomes 0.
    before = torch.where(t > 1, before, now)
    weight = 0.5 * (before / (1.0 - before) - now / (1.0 - now))
    return weight.to(x0.dtype) * (x0 - x0_hat).square().flatten(1).mean(1)


def decoder_term(process: ForwardProcess, x0: Tensor, x0_hat: Tensor, bin_width: float | None) -> Tensor:
    """-log p(x_0 | x_1), [B] in nats per dimension, of N(x0_hat, beta_1): the posterior's mean at t = 1 is x0_hat itself.

    Args:
        process: The forward process.
        x0: [B, ...] images.
        x0_hat: The network's view of x0 from x_1.
        bin_width: Distance of two pixel levels, for the probability of a level; None for a density.
    """
    log_std = (0.5 * process.beta[1].log()).to(x0.dtype)
    return reconstruction_term(x0, x0_hat, log_std, bin_width)
