"""What a model is: the images it makes, the family it belongs to and the shape of its network."""

from dataclasses import dataclass, field

from pipeline.errors import ConfigError
from pipeline.families import DiffusionConfig
from pipeline.networks import UNetConfig


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
class ModelConfig:
    """A generative model."""

    image: ImageConfig = field(default_factory=ImageConfig)
    """The images."""
    family: DiffusionConfig = field(default_factory=DiffusionConfig)
    """The mathematics: what is learned and how samples come out."""
    network: UNetConfig = field(default_factory=UNetConfig)
    """The network that is trained."""

    def __post_init__(self) -> None:
        self.network.check_image_size(self.image.size)
