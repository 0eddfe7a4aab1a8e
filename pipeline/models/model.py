"""A model: network and family side by side, so that trainer, evaluator and generator need not know which family they run."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.families import Diffusion, Draws, LossTerms, SampleRequest
from pipeline.models.build import build_network, make_family
from pipeline.models.config import ModelConfig
from pipeline.networks import UNetConfig, masks_from
from pipeline.networks.layout import laid_out


class Model:
    """A family and its network, on one device.

    Args:
        config: What to build.
        init_seed: Seed of the initial weights; the same seed gives the same weights in every process.
    """

    def __init__(self, config: ModelConfig, init_seed: int = 0) -> None:
        self.config = config
        self.family = make_family(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            self.network = build_network(config)

    @property
    def null_label(self) -> int | None:
        """The label that means "any class"; None for a model that knows none."""
        return null_label(self.config)

    @property
    def diffusion(self) -> Diffusion:
        """The family, where something is asked for that only a diffusion model has, such as its timesteps.

        Raises:
            ConfigError: The model is of another family.
        """
        if not isinstance(self.family, Diffusion):
            raise ConfigError(f"got a model of the family {self.config.family_name}, expected a diffusion model")
        return self.family

    def to(self, device: torch.device | str) -> "Model":
        """Moves weights and tables to a device and returns the model itself."""
        self.network.to(device)
        self.family.to(device)
        return self

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor | None, draws: Draws, step: int | None = None
    ) -> LossTerms:
        """Returns the training loss of a batch.

        Args:
            network: The model's network, or a wrapper of it that averages gradients over ranks.
            images: uint8 [B, C, H, W].
            labels: int64 [B], ignored by a model without labels.
            draws: The batch's randomness, keyed by sample.
            step: Optimiser steps done before this one; None for the loss after any warm-up.
        """
        with masks_from(self.network, lambda layer, shape: draws.octets(f"dropout/{layer}", shape)):
            return self.family.loss(network, scaled(images), self._known(labels), draws, self.null_label, step)

    def bound(self, images: Tensor, labels: Tensor | None, draws: Draws) -> LossTerms:
        """Returns the negative evidence lower bound of a batch, without gradients; arguments as for `loss`."""
        return self.family.bound(self.network, scaled(images), self._known(labels), draws)

    def sample(self, labels: Tensor | None, draws: Draws, request: SampleRequest) -> Tensor:
        """Returns samples, float32 [B, C, H, W] in [-1, 1], one for each index in `draws`.

        Args:
            labels: int64 [B], or None for a model without labels.
            draws: The samples' numbers, epochs 0.
            request: How they are wanted; shape and null label are the model's own.
        """
        return self.family.sample(self.network, labels, draws, completed(request, self.config))

    def _known(self, labels: Tensor | None) -> Tensor | None:
        return labels if self.config.image.num_classes else None


def null_label(config: ModelConfig) -> int | None:
    """Returns the label that means "any class": one more than the classes, for diffusion models trained here with labels."""
    return config.image.num_classes or None if isinstance(config.network, UNetConfig) else None


def completed(request: SampleRequest, config: ModelConfig) -> SampleRequest:
    """Returns a request with the shape and the null label of a model."""
    return replace(request, shape=config.image.shape, null_label=null_label(config))


def scaled(images: Tensor) -> Tensor:
    """Returns pixels as the families expect them: uint8 0..255 becomes float32 in [-1, 1], laid out for their device."""
    return laid_out(images.to(torch.float32)) / 127.5 - 1.0


def to_pixels(x: Tensor) -> Tensor:
    """Returns samples as pixels: float in [-1, 1], clamped, becomes uint8 0..255 by rounding to the nearest level."""
    return ((x.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
