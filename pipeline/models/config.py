"""What a model is: the images it makes, the family it belongs to and the shape of its network."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro
from pydantic import Discriminator, Tag

from pipeline.errors import ConfigError
from pipeline.families import DiffusionConfig
from pipeline.families.gaussians import PIXEL_WIDTH
from pipeline.families.likelihood import check_bin_width
from pipeline.families.warm_up import check_warmup_steps
from pipeline.networks import CoderConfig, DiffusersUNetConfig, UNetConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The images a model is trained on and generates."""

    size: int = 64
    """Height and width in pixels; larger images are resized and cropped to it."""
    channels: int = 3
    """1 for grey, 3 for RGB."""
    num_classes: int = 0
    """Classes 0..num_classes-1 that samples can be asked for; 0 trains without labels."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"size must be at least 1 pixel, got {self.size}")
        if self.channels not in (1, 3):
            raise ConfigError(f"channels must be 1 or 3, got {self.channels}")
        if self.num_classes < 0:
            raise ConfigError(f"num_classes must be at least 0, got {self.num_classes}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image as the network sees it: (channels, height, width)."""
        return self.channels, self.size, self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentConfig:
    """A variational autoencoder: with one latent layer the plain one, with more the multi-layer one."""

    kind: Literal["vae"] = "vae"
    """Tells this family from others in a saved configuration."""
    latent_sizes: tuple[int, ...] = (64,)
    """Numbers in z_1, ..., z_L, from the image upwards; their count is L, the number of latent layers."""
    bin_width: float | None = PIXEL_WIDTH
    """Distance of two pixel levels in [-1, 1], for likelihoods of levels; None for continuous data and densities."""
    kl_warmup_steps: int = 0
    """First steps of training, over which the latent layers' weights in the loss rise to 1, so that no layer stays empty."""

    def __post_init__(self) -> None:
        if not self.latent_sizes or any(size < 1 for size in self.latent_sizes):
            raise ConfigError(f"latent_sizes must be one or more positive numbers, got {self.latent_sizes}")
        check_bin_width("bin_width", self.bin_width)
        check_warmup_steps("kl_warmup_steps", self.kl_warmup_steps)


def _tag(default: str) -> Discriminator:
    """Which of several dataclasses a JSON object is, by its `kind`; tags stand in <> so that error texts can leave them out."""

    def choose(value: Any) -> str:
        kind = value.get("kind", default) if isinstance(value, dict) else getattr(value, "kind", default)
        return f"<{kind}>"

    return Discriminator(choose)


# With AvoidSubcommands the flags are those of the kind that the preset has.
FamilyConfig = Annotated[
    Annotated[DiffusionConfig, Tag("<diffusion>")] | Annotated[LatentConfig, Tag("<vae>")],
    _tag("diffusion"),
    tyro.conf.AvoidSubcommands,
]
NetworkConfig = Annotated[
    Annotated[UNetConfig, Tag("<unet>")]
    | Annotated[DiffusersUNetConfig, Tag("<diffusers>")]
    | Annotated[CoderConfig, Tag("<coders>")],
    _tag("unet"),
    tyro.conf.AvoidSubcommands,
]
_NETWORKS: dict[type, tuple[type, ...]] = {DiffusionConfig: (UNetConfig, DiffusersUNetConfig), LatentConfig: (CoderConfig,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A generative model."""

    image: ImageConfig = field(default_factory=ImageConfig)
    """The images."""
    family: FamilyConfig = field(default_factory=DiffusionConfig)
    """The mathematics: what is learned and how samples come out."""
    network: NetworkConfig = field(default_factory=UNetConfig)
    """The network that is trained, of a kind that the family can use."""

    def __post_init__(self) -> None:
        fitting = _NETWORKS[type(self.family)]
        if not isinstance(self.network, fitting):
            wanted = " or ".join(kind.__name__ for kind in fitting)
            raise ConfigError(f"network: got {type(self.network).__name__} for a {self.family.kind} model, expected {wanted}")
        self.network.check_image_size(self.image.size)

    @property
    def family_name(self) -> str:
        """What the family is called: diffusion, vae (one latent layer) or hvae (several)."""
        if isinstance(self.family, DiffusionConfig):
            return "diffusion"
        return "vae" if len(self.family.latent_sizes) == 1 else "hvae"
