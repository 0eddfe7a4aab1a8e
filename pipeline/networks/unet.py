"""The U-Net of the diffusion family: diffusers' UNet2DModel, called as the families call a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.networks.dropout import own_dropouts


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetConfig:
    """Shape of a U-Net; every field maps to an argument of diffusers' UNet2DModel."""

    kind: Literal["unet"] = "unet"
    """Tells this network from others in a saved configuration."""
    widths: tuple[int, ...] = (64, 128, 256)
    """Channels of each resolution, from the full one down; each level after the first halves height and width."""
    blocks: int = 2
    """Residual blocks per resolution."""
    attention: tuple[bool, ...] = (False, False, True)
    """Whether a resolution has self-attention; one entry per width."""
    head_dim: int = 32
    """Channels of one attention head; divides every width with attention."""
    norm_groups: int = 32
    """Groups of the group normalisation; divides every width."""
    dropout: float = 0.0
    """Dropout probability in residual blocks, in [0, 1), rounded to 1/256."""

    def __post_init__(self) -> None:
        if not self.widths or len(self.attention) != len(self.widths):
            raise ConfigError(
                f"attention must have one entry per width, got {len(self.attention)} for {len(self.widths)} widths"
            )
        for name in ("blocks", "head_dim", "norm_groups"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for width, attend in zip(self.widths, self.attention, strict=True):
            if width < 1 or width % self.norm_groups:
                raise ConfigError(f"norm_groups must divide every width, got {self.norm_groups} for widths {self.widths}")
            if attend and width % self.head_dim:
                raise ConfigError(f"head_dim must divide every width with attention, got {self.head_dim} for width {width}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {self.dropout}")

    def check_image_size(self, size: int) -> None:
        """Refuses an image size that the resolutions do not divide.

        Raises:
            ConfigError: size is no multiple of 2 ** (number of widths - 1).
        """
        factor = 2 ** (len(self.widths) - 1)
        if size % factor:
            raise ConfigError(f"image size must be a multiple of {factor} for {len(self.widths)} widths, got {size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusersUNetConfig:
    """A U-Net of any shape that diffusers knows, for models that were trained elsewhere."""

    kind: Literal["diffusers"] = "diffusers"
    """Tells this network from others in a saved configuration."""
    config: dict[str, Any]
    """What diffusers' UNet2DModel is made from."""

    def check_image_size(self, size: int) -> None:
        """Accepts every size: the folder was saved by a network that works."""


class UNet(nn.Module):
    """A U-Net that maps a noised image to the predicted quantity, of the same shape.

    Args:
        config: Shape of the network; one that diffusers saved brings the other arguments along.
        image_size: Height and width in pixels.
        channels: Image channels.
        num_classes: Classes for conditioning; 0 for none. One more embedding stands for "no label".
    """

    def __init__(self, config: UNetConfig | DiffusersUNetConfig, *, image_size: int, channels: int, num_classes: int) -> None:
        super().__init__()
        if isinstance(config, DiffusersUNetConfig):
            self.inner = cast(UNet2DModel, UNet2DModel.from_config(config.config))
            own_dropouts(self.inner)
            return
        config.check_image_size(image_size)
        attend = config.attention
        self.inner = UNet2DModel(
            sample_size=image_size,
            in_channels=channels,
            out_channels=channels,
            layers_per_block=config.blocks,
            block_out_channels=config.widths,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attend),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attend)),
            attention_head_dim=config.head_dim,
            add_attention=attend[-1],
            norm_num_groups=config.norm_groups,
            dropout=config.dropout,
            num_class_embeds=num_classes + 1 if num_classes else None,
        )
        own_dropouts(self.inner)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Returns the network's prediction.

        Args:
            x: Noised images, float [B, C, H, W].
            t: Timesteps counted from 0, int64 [B].
            labels: Class of each row, int64 [B], num_classes meaning "no label"; None for an unconditional network.

        Returns:
            Prediction, float [B, C, H, W].
        """
        return self.inner(x, t, class_labels=labels, return_dict=False)[0]

    def diffusers_config(self) -> dict[str, Any]:
        """Returns the JSON configuration from which diffusers rebuilds the inner network."""
        config = dict(cast(Mapping[str, Any], self.inner.config))
        return {"_class_name": "UNet2DModel", **{k: v for k, v in config.items() if not k.startswith("_")}}

    def diffusers_state(self) -> dict[str, Tensor]:
        """Returns the inner network's tensors under diffusers' own names."""
        return self.inner.state_dict()
