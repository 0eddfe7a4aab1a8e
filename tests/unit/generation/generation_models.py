"""A model small enough to sample from in a test, with weights that show labels, timesteps and noise."""

import torch

from pipeline.families import DiffusionConfig, SamplerConfig
from pipeline.generation import GenerationSpec, ImageSampler
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig

CPU = torch.device("cpu")
NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)


def model(*, classes: int = 3, channels: int = 1) -> Model:
    """Fresh weights: what it samples looks like nothing, and follows from noise and label as with any others."""
    image = ImageConfig(size=8, channels=channels, num_classes=classes)
    built = Model(ModelConfig(image=image, family=DiffusionConfig(timesteps=100), network=NETWORK), init_seed=3)
    with torch.no_grad():
        for name, value in built.network.named_parameters():
            if "class_embedding" in name:
                value.mul_(5)  # a fresh embedding would hardly be heard
    return built


def spec(**changes: object) -> GenerationSpec:
    """Five steps, batches of eight."""
    fields = {
        "checkpoint_digest": "d" * 64,
        "seed": 1,
        "sampler": SamplerConfig(name="ddim", steps=5),
        "guidance": 1.0,
        "labels": (0, 1, 2),
        "part_rows": 40,
        "batch_rows": 8,
    }
    return GenerationSpec(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


def sampler(**changes: object) -> ImageSampler:
    """A sampler of the model with three classes."""
    return ImageSampler(model(), spec(**changes), CPU)
