"""The multi-layer variational autoencoder: L latent layers, Markov in both directions.

    ELBO = E_q[ log p(x|z_1) + sum_{k<L} (log p(z_k|z_{k+1}) - log q(z_k|z_{k-1})) + log p(z_L) - log q(z_L|z_{L-1}) ], z_0 = x

With L = 2 these are the five terms log p(x|z_1) - log q(z_1|x) + log p(z_1|z_2) - log q(z_2|z_1) + log p(z_2). The topmost
pair is a divergence of two Gaussians, KL(q(z_L|z_{L-1}) || N(0, I)), and is taken in closed form. The pairs below are not,
for z_{k+1} was drawn after z_k: log q(z_k|z_{k-1}) - log p(z_k|z_{k+1}) is taken at the drawn latents. (The entropy of
q(z_k|z_{k-1}) has a closed form as well, but using it for one half of a pair loses what both halves have in common, and the
variance grows.)

The diffusion model is the case in which q is fixed, every latent has the image's shape, and L = T.

Ref: Sønderby et al. 2016, arXiv 1602.02282, section 2; Kingma & Welling 2013, arXiv 1312.6114.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.family import SampleRequest
from pipeline.families.gaussians import PIXEL_WIDTH, kl_to_standard_normal, log_density
from pipeline.families.latent_chain import ChainNetwork, LatentChain, check_latent_request, check_latent_shape, finished
from pipeline.families.likelihood import check_bin_width, per_image_dimension, reconstruction_term
from pipeline.families.noise import Draws
from pipeline.families.terms import LossTerms
from pipeline.families.warm_up import check_warmup_steps, warmed_up


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchicalVAEConfig:
    """Shapes of the latents, and what kind of data is modelled."""

    latent_shapes: tuple[tuple[int, ...], ...]
    """Shape of one sample's z_1, ..., z_L, from the image upwards; their number is L."""
    bin_width: float | None = PIXEL_WIDTH
    """Distance of two pixel levels in [-1, 1], for likelihoods of levels; None for continuous data and densities."""
    kl_warmup_steps: int = 0
    """First steps of training, over which the weights of kl_1 to kl_L rise to 1; see `warm_up`."""

    def __post_init__(self) -> None:
        if not self.latent_shapes:
            raise ConfigError("HierarchicalVAEConfig.latent_shapes: got (), expected at least one latent layer")
        for k, shape in enumerate(self.latent_shapes):
            check_latent_shape(f"HierarchicalVAEConfig.latent_shapes[{k}]", shape)
        check_bin_width("HierarchicalVAEConfig.bin_width", self.bin_width)
        check_warmup_steps("HierarchicalVAEConfig.kl_warmup_steps", self.kl_warmup_steps)


class HierarchicalVAE:
    """The objective and the sampling of an L-layer model; the network is a `LatentChain` of L layers, or a wrapper of it."""

    def __init__(self, config: HierarchicalVAEConfig) -> None:
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
        """The negative ELBO with one draw of all latents: reconstruction + kl_1 + ... + kl_L, in nats per image dimension.

        kl_k is what layer k costs: log q(z_k|z_{k-1}) - log p(z_k|z_{k+1}) at the drawn latents for k < L, which is below 0
        now and then, and the divergence KL(q(z_L|z_{L-1}) || N(0, I)) for k = L. In the first steps the upper layers cost
        less, see `warm_up`; then the total is no bound, and says so.

        Args:
            network: The network to train.
            x0: [B, C, H, W] images in [-1, 1], on the pixel levels if bin_width is set.
            labels: int64 [B], or None for an unconditional network.
            draws: The batch's randomness; "latent/1" to "latent/L" are drawn.
            null_label: Not used: labels are never dropped, for there is no guidance.
            step: Optimiser steps done before this one; None for the bound itself.
        """
        shapes = self.config.latent_shapes
        noises = [draws.normal(f"latent/{k}", shape).to(x0.dtype) for k, shape in enumerate(shapes, start=1)]
        latents, ups, downs = network(x0, labels, noises)
        costs = [log_density(z, *up) - log_density(z, *down) for z, up, down in zip(latents, ups, downs[1:], strict=False)]
        costs.append(kl_to_standard_normal(*ups[-1]))
        reconstruction = reconstruction_term(x0, *downs[0], self.config.bin_width)
        return warmed_up(reconstruction, [per_image_dimension(cost, x0) for cost in costs], step, self.config.kl_warmup_steps)

    @torch.no_grad()
    def bound(self, network: ChainNetwork, x0: Tensor, labels: Tensor | None, draws: Draws) -> LossTerms:
        """The negative ELBO without gradients, with one draw of all latents: what evaluation reports."""
        return self.loss(network, x0, labels, draws)

    def check(self, request: SampleRequest) -> None:
        """Refuses a request with a sampler or with guidance.

        Raises:
            ConfigError: Names what does not fit.
        """
        check_latent_request(request)

    @torch.no_grad()
    def sample(self, network: LatentChain, labels: Tensor | None, draws: Draws, request: SampleRequest | None = None) -> Tensor:
        """Samples x, float32 [B, C, H, W], one for each index in draws: z_L from the prior, then down to z_1 and to p(x|z_1).

        Args:
            network: The trained network; its encoders are not used.
            labels: int64 [B], or None.
            draws: The samples' randomness; "prior/L" down to "prior/1" are drawn, and "pixels" if pixels are.
            request: Whether pixels are drawn or are their means.

        Raises:
            ConfigError: See `check`.
        """
        request = request or SampleRequest()
        self.check(request)
        noises = [draws.normal(f"prior/{k}", shape) for k, shape in enumerate(self.config.latent_shapes, start=1)]
        decoded = network.descend(noises[-1], labels, noises[-2::-1])
        return finished(decoded, draws, draw_pixels=request.draw_pixels, bin_width=self.config.bin_width)
