"""What every family offers, so that trainer, evaluator and generator need not know which one they run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from pipeline.families.noise import Draws
from pipeline.families.sampler_tables import SamplerConfig
from pipeline.families.terms import LossTerms

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""The diffusion model's network(x_t [B, ...], t int64 [B] counted from 0, labels int64 [B] or None) -> prediction [B, ...].

The network's t is the paper's t minus one, 0..T-1, as diffusers counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """How samples are wanted; each family refuses what it does not have."""

    shape: tuple[int, ...] = ()
    """Shape of one sample. Families whose network decides the shape take it from there."""
    sampler: SamplerConfig | None = None
    """The reverse process; None for families that sample in one pass."""
    guidance: float = 1.0
    """Classifier-free guidance w; 1 is the plain conditional model."""
    null_label: int | None = None
    """The label that means "no label", for guidance; None for a network that knows none."""
    draw_pixels: bool = False
    """Whether a pixel is drawn from p(x | lowest latent), noise and all, or is its mean, which looks better."""


class Family(Protocol):
    """A generative model's mathematics: an objective, a bound on the likelihood, and a way to sample. It has no parameters.

    `network` is the family's network, or a wrapper of it (DDP, compilation) where gradients are wanted.
    """

    @property
    def default_sampler(self) -> SamplerConfig | None:
        """The reverse process that samples are made with where none is asked for; None: there is nothing to choose."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """This family, its tables moved to the device."""
        ...

    def loss(
        self,
        network: Callable[..., Any],
        x0: Tensor,
        labels: Tensor | None,
        draws: Draws,
        null_label: int | None = None,
        step: int | None = None,
    ) -> LossTerms:
        """What training minimises in a step, as named terms, each [B]; the step's number matters where the loss changes."""
        ...

    def bound(self, network: Callable[..., Any], x0: Tensor, labels: Tensor | None, draws: Draws) -> LossTerms:
        """The negative evidence lower bound without gradients, as named terms, each [B]; `bits_per_dim()` compares families."""
        ...

    def check(self, request: SampleRequest) -> None:
        """Refuses a request that `sample` cannot serve, before any network is there.

        Raises:
            ConfigError: Names what does not fit.
        """
        ...

    def sample(self, network: Any, labels: Tensor | None, draws: Draws, request: SampleRequest) -> Tensor:
        """Samples, float [B, ...], one for each index in `draws`: sample i is a function of (seed, i, label) alone.

        Args:
            network: The trained network.
            labels: int64 [B], or None for an unconditional network.
            draws: The samples' numbers; their epochs are 0.
            request: How samples are wanted.
        """
        ...
