"""A model: network and family side by side, so that trainer and generator need not know which family they run."""

import torch
from torch import Tensor, nn

from pipeline.families import Diffusion, Draws, LossTerms
from pipeline.models.config import ModelConfig
from pipeline.networks import UNet


class Model:
    """A family and its network, on one device.

    Args:
        config: What to build.
        init_seed: Seed of the initial weights; the same seed gives the same weights in every process.
    """

    def __init__(self, config: ModelConfig, init_seed: int = 0) -> None:
        self.config = config
        self.family = Diffusion(config.family)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            self.network = build_network(config)

    @property
    def null_label(self) -> int | None:
        """The label that means "any class"; None for a model without labels."""
        return self.config.image.num_classes or None

    def to(self, device: torch.device | str) -> "Model":
        """Moves weights and tables to a device and returns the model itself."""
        self.network.to(device)
        self.family.to(device)
        return self

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None, draws: Draws) -> LossTerms:
        """Returns the training loss of a batch.

        Args:
            network: The model's network, or a wrapper of it that averages gradients over ranks.
            images: uint8 [B, C, H, W].
            labels: int64 [B], or None for a model without labels.
            draws: The batch's randomness, keyed by sample.
        """
        return self.family.loss(network, scaled(images), labels if self.null_label else None, draws, self.null_label)


def build_network(config: ModelConfig) -> UNet:
    """Returns the network of a model with fresh weights, drawn from torch's current generator."""
    image = config.image
    return UNet(config.network, image_size=image.size, channels=image.channels, num_classes=image.num_classes)


def num_parameters(config: ModelConfig) -> int:
    """Returns the number of trainable scalars of a model, without making them."""
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(config).parameters() if p.requires_grad)


def scaled(images: Tensor) -> Tensor:
    """Returns pixels as the families expect them: uint8 0..255 becomes float32 in [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1.0


def to_pixels(x: Tensor) -> Tensor:
    """Returns samples as pixels: float in [-1, 1], clamped, becomes uint8 0..255 by rounding to the nearest level."""
    return ((x.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
