"""Networks: modules with weights, behind the call convention that the families expect.

unet      the diffusion model's U-Net
coders    encoders and decoders of the variational autoencoders
"""

from pipeline.networks.coders import CoderConfig, ImageDecoder, ImageEncoder, LatentCoder
from pipeline.networks.unet import DiffusersUNetConfig, UNet, UNetConfig

__all__ = ["CoderConfig", "DiffusersUNetConfig", "ImageDecoder", "ImageEncoder", "LatentCoder", "UNet", "UNetConfig"]
