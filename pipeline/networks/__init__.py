"""Networks: modules with weights, behind the call convention that the families expect.

unet      the diffusion model's U-Net
coders    encoders and decoders of the variational autoencoders
dropout   masks that belong to the samples
layout    where channels lie in memory
compiling one kernel for what would be many
"""

from pipeline.networks.coders import CoderConfig, ImageDecoder, ImageEncoder, LatentCoder
from pipeline.networks.dropout import SampleDropout, masks_from
from pipeline.networks.unet import DiffusersUNetConfig, UNet, UNetConfig

__all__ = [
    "CoderConfig",
    "DiffusersUNetConfig",
    "ImageDecoder",
    "ImageEncoder",
    "LatentCoder",
    "SampleDropout",
    "UNet",
    "UNetConfig",
    "masks_from",
]
