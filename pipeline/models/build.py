"""From a configuration to a family and a network: the one place that knows which kinds there are."""

from itertools import pairwise

import torch

from pipeline.families import (
    VAE,
    Diffusion,
    DiffusionConfig,
    Family,
    HierarchicalVAE,
    HierarchicalVAEConfig,
    LatentChain,
    VAEConfig,
)
from pipeline.models.config import LatentConfig, ModelConfig
from pipeline.networks import CoderConfig, DiffusersUNetConfig, ImageDecoder, ImageEncoder, LatentCoder, UNet, UNetConfig

Network = UNet | LatentChain


def make_family(config: ModelConfig) -> Family:
    """Returns the family of a model: its mathematics, without weights."""
    family = config.family
    if isinstance(family, DiffusionConfig):
        return Diffusion(family)
    shapes, warmup = tuple((size,) for size in family.latent_sizes), family.kl_warmup_steps
    if len(shapes) == 1:
        return VAE(VAEConfig(latent_shape=shapes[0], bin_width=family.bin_width, kl_warmup_steps=warmup))
    return HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=shapes, bin_width=family.bin_width, kl_warmup_steps=warmup))


def build_network(config: ModelConfig) -> Network:
    """Returns the network of a model with fresh weights, drawn from torch's current generator."""
    image = config.image
    if isinstance(config.network, UNetConfig | DiffusersUNetConfig):
        return UNet(config.network, image_size=image.size, channels=image.channels, num_classes=image.num_classes)
    assert isinstance(config.family, LatentConfig)  # ModelConfig allows no other pair
    return _chain(config.network, config.family, config)


def _chain(network: CoderConfig, family: LatentConfig, config: ModelConfig) -> LatentChain:
    image, sizes = config.image, family.latent_sizes
    ends = {"image_size": image.size, "channels": image.channels, "latent_size": sizes[0], "num_classes": image.num_classes}
    steps = list(pairwise(sizes))
    ups = [LatentCoder(network, from_size=a, to_size=b, num_classes=image.num_classes) for a, b in steps]
    downs = [LatentCoder(network, from_size=b, to_size=a, num_classes=image.num_classes) for a, b in steps]
    return LatentChain([ImageEncoder(network, **ends), *ups], [ImageDecoder(network, **ends), *downs])


def num_parameters(config: ModelConfig) -> int:
    """Returns the number of trainable scalars of a model, without making them."""
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(config).parameters() if p.requires_grad)
