"""A small dense network for points instead of images."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


class PointNetwork(nn.Module):
    """A diffusion model's network for points of a few dimensions.

    Args:
        dimensions: Numbers of a point.
        timesteps: T, for the scale of the time embedding.
        width: Width of the hidden layers.
        layers: Hidden layers.
    """

    def __init__(self, dimensions: int, timesteps: int, width: int = 128, layers: int = 4) -> None:
        super().__init__()
        self._timesteps = timesteps
        self.register_buffer("_frequencies", math.pi * 2.0 ** torch.arange(6), persistent=False)
        sizes = [dimensions + 12, *[width] * layers]
        hidden = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, dimensions))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Returns the prediction, float [B, D].

        Args:
            x: Noised points, float [B, D].
            t: Timesteps counted from 0, int64 [B].
            labels: None; points have no labels.
        """
        angle = (t / self._timesteps)[:, None] * self.get_buffer("_frequencies")
        return self.layers(torch.cat([x, angle.sin(), angle.cos()], dim=1))
