"""The part of a checkpoint that diffusers opens: network, noise schedule and pipeline index."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import diffusers
import safetensors.torch
from torch import Tensor

from pipeline.families import DiffusionConfig, Prediction
from pipeline.models import ModelConfig
from pipeline.networks import UNet

PREDICTION_TYPES: dict[Prediction, str] = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
# Names that diffusers and we share; every other schedule is handed over as its table.
_BETA_SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
UNET_CONFIG = "unet/config.json"
SCHEDULER_CONFIG = "scheduler/scheduler_config.json"
UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
_INNER = "inner."


def json_bytes(value: object) -> bytes:
    """Returns canonical JSON: sorted keys, one line break at the end."""
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def weights_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Returns tensors as a safetensors file."""
    return safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {"format": "pt"})


def diffusers_files(network: UNet, config: ModelConfig, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of the files by which diffusers opens a diffusion model.

    Args:
        network: The network, for its shape.
        config: The model's configuration.
        weights: Weights under the network's names; not necessarily the ones it holds now.
    """
    assert isinstance(config.family, DiffusionConfig)  # ModelConfig gives a U-Net to no other family
    version = diffusers.__version__
    yield UNET_CONFIG, json_bytes({**network.diffusers_config(), "_diffusers_version": version})
    yield SCHEDULER_CONFIG, json_bytes({**scheduler_config(config.family), "_diffusers_version": version})
    if not config.image.num_classes:
        index = {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": version,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        }
        yield "model_index.json", json_bytes(index)
    yield UNET_WEIGHTS, weights_bytes({name.removeprefix(_INNER): value for name, value in weights.items()})


def scheduler_config(family: DiffusionConfig) -> dict[str, Any]:
    """Returns the configuration of the diffusers DDPMScheduler that samples as the family's ancestral sampler does."""
    named = family.beta is None and family.schedule in _BETA_SCHEDULES
    return {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": family.timesteps,
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "beta_schedule": _BETA_SCHEDULES.get(family.schedule, "linear"),
        "trained_betas": None if named else family.make_schedule().beta.tolist(),
        "prediction_type": PREDICTION_TYPES[family.prediction],
        "variance_type": "fixed_small",
        "clip_sample": family.default_clip == "clip",
        "clip_sample_range": 1.0,
        "timestep_spacing": "leading",
    }


def network_weights(data: bytes) -> dict[str, Tensor]:
    """Returns a diffusers weights file under our network's names."""
    return {_INNER + name: value for name, value in safetensors.torch.load(data).items()}
