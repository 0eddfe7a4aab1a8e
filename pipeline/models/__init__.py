"""Models: a family of generative mathematics together with the network it trains, built from one configuration."""

from pipeline.models.config import ImageConfig, ModelConfig
from pipeline.models.model import Model

__all__ = ["ImageConfig", "Model", "ModelConfig"]
