"""Presets: whole training configurations under a name, to start from and to override by flags."""

import difflib
from collections.abc import Callable

from pipeline.errors import ConfigError
from pipeline.families import DiffusionConfig
from pipeline.models import ImageConfig, ModelConfig
from pipeline.networks import UNetConfig
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
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=40, ema_half_life_steps=60),
        workers=WorkerConfig(num_workers=1, num_loaders=1),
    )


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
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=20, ema_half_life_steps=50),
        workers=WorkerConfig(num_workers=1, num_loaders=1),
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {"mnist": mnist, "digits": digits}


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
