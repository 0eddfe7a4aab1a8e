"""The networks of the variational autoencoders: convolutions between an image and its lowest latent, dense layers above.

Every module is called as (z_below or z_above [B, ...], labels int64 [B] or None) and answers (mean, log_std), the Gaussian
of its neighbor in the chain. The logarithm of a standard deviation is bounded smoothly, so that a bad step of the optimiser
cannot make a density infinite.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigError

_LATENT_LOG_STD = (0.0, 5.0)  # centre and half-width: from 0.0067 to 148 prior standard deviations
_PIXEL_LOG_STD = (-2.5, 3.5)  # from 0.0025, a third of the distance of two 8-bit levels, to 2.7


@dataclass(frozen=True, slots=True, kw_only=True)
class CoderConfig:
    """Shape of a chain's encoders and decoders; the sizes of the latents belong to the family."""

    kind: Literal["coders"] = "coders"
    """Tells this network from others in a saved configuration."""
    widths: tuple[int, ...] = (32, 64, 128)
    """Channels of each resolution, from the full one down; each level after the first halves height and width."""
    blocks: int = 1
    """Residual blocks per resolution."""
    hidden: int = 256
    """Width of the dense layers between one latent and the next, and of the embedding of a label."""
    norm_groups: int = 8
    """Groups of the group normalisation; divides every width."""

    def __post_init__(self) -> None:
        for name in ("blocks", "hidden", "norm_groups"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.widths or any(width < 1 or width % self.norm_groups for width in self.widths):
            raise ConfigError(f"norm_groups must divide every width, got {self.norm_groups} for widths {self.widths}")

    def check_image_size(self, size: int) -> None:
        """Refuses an image size that the resolutions do not divide.

        Raises:
            ConfigError: size is no multiple of 2 ** (number of widths - 1).
        """
        factor = 2 ** (len(self.widths) - 1)
        if size % factor:
            raise ConfigError(f"image size must be a multiple of {factor} for {len(self.widths)} widths, got {size}")


class ImageEncoder(nn.Module):
    """q(z_1 | x): from an image to the lowest latent, a vector."""

    def __init__(self, config: CoderConfig, *, image_size: int, channels: int, latent_size: int, num_classes: int) -> None:
        super().__init__()
        config.check_image_size(image_size)
        widths = config.widths
        self.label = _LabelEmbedding(num_classes, config.hidden)
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.levels = nn.ModuleList()
        self.downs = nn.ModuleList()
        for below, width in zip((widths[0], *widths), widths, strict=False):
            self.downs.append(nn.Identity() if not self.levels else nn.Conv2d(below, width, 3, stride=2, padding=1))
            self.levels.append(_Blocks(config, width, labelled=num_classes > 0))
        smallest = image_size // 2 ** (len(widths) - 1)
        self.norm = nn.GroupNorm(config.norm_groups, widths[-1])
        self.last = nn.Linear(widths[-1] * smallest**2, 2 * latent_size)

    def forward(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of z_1, each [B, latent_size].

        Args:
            x: Images, float [B, C, H, W].
            labels: int64 [B], or None for a model without labels.
        """
        label = self.label(labels)
        h = self.first(x)
        for down, blocks in zip(self.downs, self.levels, strict=True):
            h = blocks(down(h), label)
        mean, log_std = self.last(functional.silu(self.norm(h)).flatten(1)).chunk(2, dim=1)
        return mean, _bounded(log_std, *_LATENT_LOG_STD)


class ImageDecoder(nn.Module):
    """p(x | z_1): from the lowest latent to the mean and the log standard deviation of every pixel."""

    def __init__(self, config: CoderConfig, *, image_size: int, channels: int, latent_size: int, num_classes: int) -> None:
        super().__init__()
        config.check_image_size(image_size)
        widths = config.widths[::-1]
        self.label = _LabelEmbedding(num_classes, config.hidden)
        smallest = image_size // 2 ** (len(widths) - 1)
        self._bottom = (widths[0], smallest, smallest)
        self.first = nn.Linear(latent_size, widths[0] * smallest**2)
        self.levels = nn.ModuleList()
        self.ups = nn.ModuleList()
        for below, width in zip((widths[0], *widths), widths, strict=False):
            self.ups.append(nn.Identity() if not self.levels else _Up(below, width))
            self.levels.append(_Blocks(config, width, labelled=num_classes > 0))
        self.norm = nn.GroupNorm(config.norm_groups, widths[-1])
        self.last = nn.Conv2d(widths[-1], 2 * channels, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of x, each [B, C, H, W].

        Args:
            z: z_1, float [B, latent_size].
            labels: int64 [B], or None for a model without labels.
        """
        label = self.label(labels)
        h = self.first(z).view(-1, *self._bottom)
        for up, blocks in zip(self.ups, self.levels, strict=True):
            h = blocks(up(h), label)
        mean, log_std = self.last(functional.silu(self.norm(h))).chunk(2, dim=1)
        return mean, _bounded(log_std, *_PIXEL_LOG_STD)


class LatentCoder(nn.Module):
    """q(z_k | z_{k-1}) or p(z_{k-1} | z_k) for k > 1: from one latent vector to the next, by dense residual layers."""

    def __init__(self, config: CoderConfig, *, from_size: int, to_size: int, num_classes: int) -> None:
        super().__init__()
        width = config.hidden
        self.label = _LabelEmbedding(num_classes, width)
        self.first = nn.Linear(from_size, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(config.blocks)
        )
        self.last = nn.Linear(width, 2 * to_size)

    def forward(self, z: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the neighbor, each [B, to_size].

        Args:
            z: float [B, from_size].
            labels: int64 [B], or None for a model without labels.
        """
        label = self.label(labels)
        h = self.first(z) if label is None else self.first(z) + label
        for block in self.blocks:
            h = h + block(h)
        mean, log_std = self.last(functional.silu(h)).chunk(2, dim=1)
        return mean, _bounded(log_std, *_LATENT_LOG_STD)


class _LabelEmbedding(nn.Module):
    """int64 [B] -> [B, width]; None where the model has no labels."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(num_classes, width) if num_classes else None

    def forward(self, labels: Tensor | None) -> Tensor | None:
        if self.table is None:
            return None
        if labels is None:
            raise ConfigError(f"coders: got no labels, expected one of {self.table.num_embeddings} classes a sample")
        return self.table(labels)


class _Blocks(nn.Module):
    """Residual blocks of one resolution, each shifted by the label."""

    def __init__(self, config: CoderConfig, width: int, *, labelled: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(config, width, labelled=labelled) for _ in range(config.blocks))

    def forward(self, h: Tensor, label: Tensor | None) -> Tensor:
        for block in self.blocks:
            h = block(h, label)
        return h


class _Block(nn.Module):
    def __init__(self, config: CoderConfig, width: int, *, labelled: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(config.norm_groups, width), nn.GroupNorm(config.norm_groups, width)
        self.conv_1, self.conv_2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        # Only where there are labels: averaging gradients over ranks expects a gradient of every parameter.
        self.shift = nn.Linear(config.hidden, width) if labelled else None

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        h = self.conv_1(functional.silu(self.norm_1(x)))
        if label is not None and self.shift is not None:
            h = h + self.shift(label)[:, :, None, None]
        return x + self.conv_2(functional.silu(self.norm_2(h)))


class _Up(nn.Module):
    """Twice the height and width."""

    def __init__(self, below: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(below, width, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(functional.interpolate(h, scale_factor=2.0, mode="nearest"))


def _bounded(log_std: Tensor, centre: float, half_width: float) -> Tensor:
    """centre + something in (-half_width, half_width), of slope 1 at 0; in float32, for densities need more than half."""
    return centre + half_width * torch.tanh(log_std.float() / half_width)
