"""Small training problems: models that fit into a second, and batches of rows with known numbers."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from pipeline.families import DiffusionConfig
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.training import Batch, OptimConfig, TrainState

CPU = torch.device("cpu")
NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)
MODEL = ModelConfig(
    image=ImageConfig(size=8, channels=1, num_classes=10), family=DiffusionConfig(prediction="v"), network=NETWORK
)


def new_state(optim: OptimConfig | None = None, seed: int = 0) -> TrainState:
    """Untrained, on the CPU."""
    return TrainState(Model(MODEL, init_seed=seed), optim or OptimConfig(learning_rate=1e-3, warmup_steps=0), CPU)


def digits(rows: int, *, first: int = 0, epoch: int = 0) -> Batch:
    """Real digits first..first+rows-1, scaled from 17 grey levels to 256."""
    images, labels = _all_digits()
    chosen = np.arange(first, first + rows) % len(images)
    return Batch(
        images=torch.from_numpy(images[chosen]),
        labels=torch.from_numpy(labels[chosen]),
        samples=torch.from_numpy(chosen),
        epochs=torch.full((rows,), epoch),
    )


@cache
def _all_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    pixels, target = load_digits(return_X_y=True)
    return (np.asarray(pixels) * 15).astype(np.uint8).reshape(-1, 8, 8, 1), np.asarray(target, np.int64)


def endless(rows: int, *, first: int = 0) -> Iterator[Batch]:
    """Batch after batch."""
    while True:
        yield digits(rows, first=first)
        first += rows


def taken(batch: Batch, rows: object) -> Batch:
    """Some rows of a batch: a slice, or an index tensor."""
    return Batch(
        images=batch.images[rows],  # pyright: ignore[reportArgumentType]
        labels=batch.labels[rows],  # pyright: ignore[reportArgumentType]
        samples=batch.samples[rows],  # pyright: ignore[reportArgumentType]
        epochs=batch.epochs[rows],  # pyright: ignore[reportArgumentType]
    )


def everything(state: TrainState) -> dict[str, torch.Tensor]:
    """All tensors of a state, the averages too."""
    averages = {f"ema {length} {name}": t for length, average in state.averages.items() for name, t in average.items()}
    return state.tensors() | averages
