"""Models: a family of generative mathematics together with the network it trains, built from one configuration."""

from pipeline.models.build import make_family, num_parameters
from pipeline.models.config import ImageConfig, LatentConfig, ModelConfig
from pipeline.models.model import Model

__all__ = ["ImageConfig", "LatentConfig", "Model", "ModelConfig", "make_family", "num_parameters"]
