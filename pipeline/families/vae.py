"""The variational autoencoder: one latent layer between an encoder q(z|x) and a decoder p(x|z).

`log p(x) >= ELBO = E_q(z|x)[log p(x|z)] - KL(q(z|x) || p(z))`, p(z) = N(0, I), with z drawn by reparameterisation.

Ref: Kingma & Welling 2013, arXiv 1312.6114, eqs. 3 and 10.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pipeline.families.family import SampleRequest
from pipeline.families.gaussians import PIXEL_WIDTH, kl_to_standard_normal
from pipeline.families.latent_chain import ChainNetwork, LatentChain, check_latent_request, check_latent_shape, finished
from pipeline.families.likelihood import check_bin_width, per_image_dimension, reconstruction_term
from pipeline.families.noise import Draws
from pipeline.families.terms import LossTerms
from pipeline.families.warm_up import check_warmup_steps, warmed_up


@dataclass(frozen=True, slots=True, kw_only=True)
class VAEConfig:
    """Shape of the latent, and what kind of data is modelled."""

    latent_shape: tuple[int, ...]
    """Shape of one sample's z; it need not be the image's."""
    bin_width: float | None = PIXEL_WIDTH
    """Distance of two pixel levels in [-1, 1], for likelihoods of levels; None for continuous data and densities."""
    kl_warmup_steps: int = 0
    """First steps of training, over which the weight of kl_1 rises to 1; see `warm_up`."""

    def __post_init__(self) -> None:
        check_latent_shape("VAEConfig.latent_shape", self.latent_shape)
        check_bin_width("VAEConfig.bin_width", self.bin_width)
        check_warmup_steps("VAEConfig.kl_warmup_steps", self.kl_warmup_steps)


class VAE:
    """The objective and the sampling of a one-layer model; the network is a `LatentChain` of one layer, or a wrapper of it."""

    def __init__(self, config: VAEConfig) -> None:
        self.config = config

    @property
    def default_sampler(self) -> None:
        """None: samples come in one pass through the decoders."""
        return None

    def to(self, device: torch.device | str) -> Self:
        """This family; it holds no tensors, so no device matters to it."""
        return self

    def loss(
        self,
        network: ChainNetwork,
        x0: Tensor,
        labels: Tensor | None,
        draws: Draws,
        null_label: int | None = None,
        step: int | None = None,
    ) -> LossTerms:
        """The negative ELBO with one draw of z, terms reconstruction + kl_1, in nats per image dimension.

        In the first steps kl_1 weighs less, see `warm_up`; then the total is no bound, and says so.

        Args:
            network: The network to train.
            x0: [B, C, H, W] images in [-1, 1], on the pixel levels if bin_width is set.
            labels: int64 [B], or None for an unconditional network.
            draws: The batch's randomness; "latent/1" is drawn.
            null_label: Not used: labels are never dropped, for there is no guidance.
            step: Optimiser steps done before this one; None for the bound itself.
        """
        noise = draws.normal("latent/1", self.config.latent_shape).to(x0.dtype)
        passed = network(x0, labels, [noise])
        reconstruction = reconstruction_term(x0, *passed.downs[0], self.config.bin_width)
        kl = per_image_dimension(kl_to_standard_normal(*passed.ups[0]), x0)
        return warmed_up(reconstruction, [kl], step, self.config.kl_warmup_steps)

    @torch.no_grad()
    def bound(self, network: ChainNetwork, x0: Tensor, labels: Tensor | None, draws: Draws) -> LossTerms:
        """The negative ELBO without gradients, with one draw of z: what evaluation reports."""
        return self.loss(network, x0, labels, draws)

    def check(self, request: SampleRequest) -> None:
        """Refuses a request with a sampler or with guidance.

        Raises:
            ConfigError: Names what does not fit.
        """
        check_latent_request(request)

    @torch.no_grad()
    def sample(self, network: LatentChain, labels: Tensor | None, draws: Draws, request: SampleRequest | None = None) -> Tensor:
        """Samples x, float32 [B, C, H, W], one for each index in draws: z from the prior, then p(x|z). The encoder is not used.

        Args:
            network: The trained network.
            labels: int64 [B], or None.
            draws: The samples' randomness; "prior/1" is drawn, and "pixels" if pixels are.
            request: Whether pixels are drawn or are their means.

        Raises:
            ConfigError: See `check`.
        """
        request = request or SampleRequest()
        self.check(request)
        z = draws.normal("prior/1", self.config.latent_shape)
        return finished(network.descend(z, labels, []), draws, draw_pixels=request.draw_pixels, bin_width=self.config.bin_width)
