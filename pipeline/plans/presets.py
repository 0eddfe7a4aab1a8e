"""Presets: whole training configurations under a name, to start from and to override by flags."""

import difflib
from collections.abc import Callable
from dataclasses import replace

from pipeline.errors import ConfigError
from pipeline.families import DiffusionConfig
from pipeline.models import ImageConfig, LatentConfig, ModelConfig
from pipeline.networks import CoderConfig, UNetConfig
from pipeline.plans.train_config import TrainConfig
from pipeline.plans.workers import WorkerConfig
from pipeline.stream import StreamConfig
from pipeline.training import OptimConfig


def mnist() -> TrainConfig:
    """Handwritten digits, 28x28 grey, by class; sized for a few minutes on two CPU cores."""
    return TrainConfig(
        preset="mnist",
        steps=800,
        checkpoint_every_s=30.0,
        model=ModelConfig(
            image=ImageConfig(size=28, channels=1, num_classes=10),
            family=DiffusionConfig(schedule="cosine", prediction="v", label_dropout=0.1),
            network=UNetConfig(widths=(16, 32, 64), blocks=1, attention=(False, False, False), norm_groups=8),
        ),
        stream=StreamConfig(batch_size=32, window=512),
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=40),
        workers=WorkerConfig(num_workers=1, num_loaders=1),
    )


def mnist_vae() -> TrainConfig:
    """The same digits by a VAE with one latent layer."""
    return _as_vae(mnist(), "mnist-vae", (32,), CoderConfig(widths=(16, 32, 64), hidden=128))


def mnist_hvae() -> TrainConfig:
    """The same digits by a VAE with three latent layers."""
    return _as_vae(mnist(), "mnist-hvae", (32, 16, 8), CoderConfig(widths=(16, 32, 64), hidden=128))


def digits() -> TrainConfig:
    """Tiny digits, 8x8 grey, by class; trains in seconds, for tests and first tries."""
    return TrainConfig(
        preset="digits",
        steps=300,
        checkpoint_every_s=5.0,
        model=ModelConfig(
            image=ImageConfig(size=8, channels=1, num_classes=10),
            family=DiffusionConfig(schedule="cosine", prediction="v", label_dropout=0.1),
            network=UNetConfig(widths=(16, 32), blocks=1, attention=(False, False), norm_groups=8),
        ),
        stream=StreamConfig(batch_size=64, window=256),
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=20),
        workers=WorkerConfig(num_workers=1, num_loaders=1),
    )


def digits_vae() -> TrainConfig:
    """Tiny digits by a VAE with one latent layer."""
    return _as_vae(digits(), "digits-vae", (16,), CoderConfig(widths=(16, 32), hidden=64))


def digits_hvae() -> TrainConfig:
    """Tiny digits by a VAE with three latent layers."""
    return _as_vae(digits(), "digits-hvae", (16, 8, 4), CoderConfig(widths=(16, 32), hidden=64))


def cifar10_like() -> TrainConfig:
    """RGB images of 32x32 in ten classes, at the size of published runs (35 M parameters, batch 128): for GPUs.

    Ref: Ho et al. 2020, arXiv 2006.11239, appendix B (widths, attention at 16x16, dropout, learning rate, batch).
    """
    return TrainConfig(
        preset="cifar10-like",
        steps=800_000,
        model=ModelConfig(
            image=ImageConfig(size=32, channels=3, num_classes=10),
            family=DiffusionConfig(schedule="cosine", prediction="v", label_dropout=0.1),
            network=UNetConfig(
                widths=(128, 256, 256, 256), blocks=2, attention=(False, True, False, False), head_dim=256, dropout=0.1
            ),
        ),
        stream=StreamConfig(batch_size=128, window=4096),
        optim=OptimConfig(learning_rate=2e-4, warmup_steps=5000, ema_lengths=(0.05, 0.1)),
        workers=WorkerConfig(num_workers=1, num_loaders=2),
    )


def imagenet64_like() -> TrainConfig:
    """RGB images of 64x64 in a thousand classes, at the size of published runs (266 M parameters, batch 2048): for many GPUs.

    Ref: Nichol & Dhariwal 2021, arXiv 2102.09672, and Dhariwal & Nichol 2021, arXiv 2105.05233, table 11 (192 channels,
    multipliers 1, 2, 3, 4, three blocks, heads of 64, attention at 32, 16 and 8, dropout 0.1).
    """
    return TrainConfig(
        preset="imagenet64-like",
        steps=540_000,
        model=ModelConfig(
            image=ImageConfig(size=64, channels=3, num_classes=1000),
            family=DiffusionConfig(schedule="cosine", prediction="v", label_dropout=0.1),
            network=UNetConfig(
                widths=(192, 384, 576, 768), blocks=3, attention=(False, True, True, True), head_dim=64, dropout=0.1
            ),
        ),
        stream=StreamConfig(batch_size=2048, window=16_384),
        optim=OptimConfig(learning_rate=3e-4, warmup_steps=5000, ema_lengths=(0.05, 0.1)),
        workers=WorkerConfig(num_workers=8, num_loaders=16),
    )


def _as_vae(config: TrainConfig, name: str, latent_sizes: tuple[int, ...], network: CoderConfig) -> TrainConfig:
    """The preset of a diffusion model with another family on the same data and the same batches; half of it is warm-up."""
    family = LatentConfig(latent_sizes=latent_sizes, kl_warmup_steps=config.steps // 2)
    model = ModelConfig(image=config.model.image, family=family, network=network)
    return replace(config, preset=name, model=model, optim=replace(config.optim, learning_rate=2e-3))


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "mnist": mnist,
    "mnist-vae": mnist_vae,
    "mnist-hvae": mnist_hvae,
    "digits": digits,
    "digits-vae": digits_vae,
    "digits-hvae": digits_hvae,
    "cifar10-like": cifar10_like,
    "imagenet64-like": imagenet64_like,
}


def preset(name: str) -> TrainConfig:
    """Returns a preset by name.

    Raises:
        ConfigError: There is no such preset; suggests the nearest.
    """
    if name in PRESETS:
        return PRESETS[name]()
    nearest = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(PRESETS)}"
    raise ConfigError(f"unknown preset {name!r}; {hint}")
