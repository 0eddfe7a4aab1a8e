"""A small classifier that reads which class an image shows; trained on real images that the generator has not seen."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigError

BATCH = 50


class Classifier:
    """Reads the class of small images.

    Args:
        network: Maps float [B, C, H, W] in [-1, 1] to logits [B, classes].
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval()

    @torch.no_grad()
    def read(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Returns the class each image shows, int64 [N].

        Args:
            images: uint8 [N, H, W, C].
        """
        chunks = [self._network(_scaled(images[i : i + 500])).argmax(1) for i in range(0, len(images), 500)]
        return torch.cat(chunks).numpy()

    def agreement(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        """Returns the share of images, in [0, 1], in which the requested class is read."""
        return float((self.read(images) == labels).mean())


def train_classifier(images: NDArray[np.uint8], labels: NDArray[np.int64], *, epochs: int = 40, seed: int = 0) -> Classifier:
    """Returns a convolutional classifier trained on shifted, turned and scaled copies of the images.

    Args:
        images: uint8 [N, H, W, C] with H and W of at least 8.
        labels: int64 [N], 0 to K-1.
        epochs: Passes over the images.
        seed: Seed of weights, order and distortions.

    Raises:
        ConfigError: There are fewer images than one batch.
    """
    if len(images) < BATCH:
        raise ConfigError(f"a classifier needs at least {BATCH} images, got {len(images)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(channels=images.shape[3], classes=int(labels.max()) + 1)
        x, y = _scaled(images), torch.from_numpy(labels)
        steps = epochs * (len(x) // BATCH)
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
        for _ in range(epochs):
            for chosen in torch.randperm(len(x)).split(BATCH):
                if len(chosen) < BATCH:
                    continue
                loss = functional.cross_entropy(network(_distorted(x[chosen])), y[chosen], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return Classifier(network)


def _network(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, classes)),
    )


def _distorted(x: Tensor) -> Tensor:
    """Each image turned by up to 12 degrees, scaled by up to 12 % and shifted by up to 10 % of its width."""
    count = len(x)
    angle = (torch.rand(count) * 2 - 1) * 0.21
    scale = 1 + (torch.rand(count) * 2 - 1) * 0.12
    shift = (torch.rand(count, 2) * 2 - 1) * 0.2
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(count, 2, 2) * scale.view(-1, 1, 1)
    grid = functional.affine_grid(torch.cat([rotation, shift[:, :, None]], 2), list(x.shape), align_corners=False)
    return functional.grid_sample(x + 1, grid, align_corners=False) - 1  # what comes in from outside is black


def _scaled(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
