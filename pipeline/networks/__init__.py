"""Networks: modules with weights, behind the call convention that the families expect."""

from pipeline.networks.unet import UNet, UNetConfig

__all__ = ["UNet", "UNetConfig"]
