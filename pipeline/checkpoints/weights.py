"""Where a checkpoint keeps the weights that samples are made with: in the form that others open, where there is one."""

from collections.abc import Iterator, Mapping

import safetensors.torch
from torch import Tensor

from pipeline.checkpoints.diffusers_folder import UNET_WEIGHTS, diffusers_files, network_weights, weights_bytes
from pipeline.models import Model, ModelConfig
from pipeline.networks import UNet

NETWORK_WEIGHTS = "network.safetensors"
AVERAGES_NAME = "ema.json"


def average_name(length: float) -> str:
    """Returns the file with the average of a length that is not the first."""
    return f"ema/{length:g}.safetensors"


def weights_files(model: Model, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of the files with a model's weights: a diffusers folder for a U-Net, else one safetensors file.

    Args:
        model: The model, for its configuration.
        weights: Weights under the network's names; not necessarily the ones it holds now.
    """
    if isinstance(model.network, UNet):
        yield from diffusers_files(model.network, model.config, weights)
    else:
        yield NETWORK_WEIGHTS, weights_bytes(weights)


def weights_name(config: ModelConfig) -> str:
    """Returns the file of `weights_files` that the weights are in."""
    return UNET_WEIGHTS if config.family_name == "diffusion" else NETWORK_WEIGHTS


def read_weights(config: ModelConfig, data: bytes) -> dict[str, Tensor]:
    """Returns the content of that file under the network's names."""
    return network_weights(data) if config.family_name == "diffusion" else safetensors.torch.load(data)
