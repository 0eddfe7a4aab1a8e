"""Where the channels of an image lie in memory, for networks to be fast on each kind of device."""

import torch
from torch import Tensor, nn


def layout_on(device: torch.device) -> torch.memory_format:
    """Returns the memory format for images and convolutions on a device.

    Channels last on a CPU. On CUDA convolutions like it too, but torch's group normalisation of such images takes so long that
    the U-Net as a whole is slower by a third (H200, docs/gpu.md); a compiled network lays out what is inside it by itself.
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def lay_out(network: nn.Module, device: torch.device) -> nn.Module:
    """Returns the network with its weights laid out for the device that it runs on."""
    return network.to(memory_format=layout_on(device))  # pyright: ignore[reportCallIssue]


def laid_out(images: Tensor) -> Tensor:
    """Returns images, [B, C, H, W], laid out for the device that they are on; other shapes as they are."""
    return images.to(memory_format=layout_on(images.device)) if images.dim() == 4 else images
