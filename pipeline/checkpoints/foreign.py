"""Models that diffusers saved: a pipeline folder with a UNet2DModel and a scheduler becomes a configuration and weights."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from pipeline import storage
from pipeline.checkpoints.diffusers_folder import PREDICTION_TYPES, SCHEDULER_CONFIG, UNET_CONFIG, UNET_WEIGHTS, network_weights
from pipeline.checkpoints.record import MODEL_NAME
from pipeline.errors import ConfigError
from pipeline.families import DiffusionConfig, Prediction
from pipeline.families.sampler_tables import Clip
from pipeline.models import ImageConfig, ModelConfig
from pipeline.networks import DiffusersUNetConfig

_SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")
_TABLE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
_PICKLED = ("unet/diffusion_pytorch_model.bin", "unet/pytorch_model.bin", "unet/diffusion_pytorch_model.pt")


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A diffusers folder, read."""

    config: ModelConfig
    """What it is."""
    digest: str
    """Hex SHA-256 over its three files: the identity of the model, wherever it is stored."""
    weights: dict[str, Tensor]
    """Under our network's names."""


def is_foreign(url: str) -> bool:
    """Returns whether a folder looks like one that diffusers saved, and not like a checkpoint of ours that lost its record."""
    if storage.exists(_at(url, MODEL_NAME)):
        return False
    return any(storage.exists(_at(url, name)) for name in ("model_index.json", UNET_CONFIG, "config.json"))


def read_foreign(url: str) -> ForeignModel:
    """Returns the model of a diffusers folder.

    Raises:
        ConfigError: It has no scheduler or no safetensors weights, or is of a kind that cannot be sampled here.
    """
    files = read_foreign_files(url)
    unet, scheduler = _object(files[UNET_CONFIG], _at(url, UNET_CONFIG)), _object(files[SCHEDULER_CONFIG], url)
    config = ModelConfig(
        image=_image(unet, url),
        family=_family(scheduler, url),
        network=DiffusersUNetConfig(config={k: v for k, v in unet.items() if not k.startswith("_")}),
    )
    return ForeignModel(config, foreign_digest(files), network_weights(files[UNET_WEIGHTS]))


def foreign_digest(files: Mapping[str, bytes]) -> str:
    """Returns the digest of a diffusers folder, see `ForeignModel.digest`."""
    lines = "\n".join(f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_foreign_files(url: str) -> dict[str, bytes]:
    """Returns the three files of a diffusers folder that decide the samples, by their path in it.

    Raises:
        ConfigError: One is missing, or the weights are of a form that is never read.
    """
    if not storage.exists(_at(url, UNET_CONFIG)):
        there = "config.json of a single network" if storage.exists(_at(url, "config.json")) else "a pipeline"
        raise ConfigError(f"{url}: got {there} without unet/config.json, expected a folder with unet/ and scheduler/")
    if not storage.exists(_at(url, SCHEDULER_CONFIG)):
        raise ConfigError(f"{url}: got no {SCHEDULER_CONFIG}, expected the scheduler that the network was trained with")
    if not storage.exists(_at(url, UNET_WEIGHTS)):
        pickled = [name for name in _PICKLED if storage.exists(_at(url, name))]
        got = f"{pickled[0]}, which is a pickle and is never read" if pickled else "no weights"
        raise ConfigError(f"{url}: got {got}; expected {UNET_WEIGHTS} (save_pretrained with safe_serialization)")
    return {name: storage.read_bytes(_at(url, name)) for name in (UNET_CONFIG, SCHEDULER_CONFIG, UNET_WEIGHTS)}


def _image(unet: dict[str, Any], url: str) -> ImageConfig:
    kind, size = unet.get("_class_name"), unet.get("sample_size")
    if kind != "UNet2DModel":
        raise ConfigError(f"{url}: got a network of class {kind}, expected UNet2DModel")
    if isinstance(size, list) and len(set(size)) == 1:
        size = size[0]
    if not isinstance(size, int):
        raise ConfigError(f"{url}: got sample_size {size}, expected one number: height and width of square images")
    channels, out = unet.get("in_channels"), unet.get("out_channels")
    if channels != out or channels not in (1, 3):
        raise ConfigError(f"{url}: got {channels} channels in and {out} out, expected 1 or 3, the same for both")
    if unet.get("class_embed_type") is not None:
        raise ConfigError(f"{url}: got class_embed_type {unet['class_embed_type']!r}, expected classes by number")
    return ImageConfig(size=size, channels=channels, num_classes=unet.get("num_class_embeds") or 0)


def _family(scheduler: dict[str, Any], url: str) -> DiffusionConfig:
    kind = scheduler.get("_class_name")
    if kind not in _SCHEDULERS:
        raise ConfigError(f"{url}: got a scheduler of class {kind}, expected one of {', '.join(_SCHEDULERS)}")
    if scheduler.get("rescale_betas_zero_snr"):
        raise ConfigError(f"{url}: got rescale_betas_zero_snr, expected a schedule that leaves some signal at its end")
    predictions: dict[str, Prediction] = {theirs: ours for ours, theirs in PREDICTION_TYPES.items()}
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in predictions:
        raise ConfigError(f"{url}: got prediction_type {prediction!r}, expected one of {', '.join(predictions)}")
    # All of them make beta_t from these fields in the same way; the table itself is diffusers' own.
    given = {name: scheduler[name] for name in _TABLE if scheduler.get(name) is not None}
    try:
        table: Any = DDPMScheduler(**given)
    except (NotImplementedError, ValueError) as error:
        raise ConfigError(f"{url}: {error}") from error
    beta = tuple(table.betas.double().tolist())
    clip: Clip = "none"
    if scheduler.get("thresholding"):
        clip = "dynamic"
    elif scheduler.get("clip_sample", "DPM" not in kind):
        clip = "clip"
    if clip == "clip" and scheduler.get("clip_sample_range", 1.0) != 1.0:
        raise ConfigError(f"{url}: got clip_sample_range {scheduler['clip_sample_range']}, expected 1.0")
    return DiffusionConfig(beta=beta, timesteps=len(beta), prediction=predictions[prediction], clip=clip, label_dropout=0.0)


def _object(data: bytes, url: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ConfigError(f"expected JSON in {url}, got: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"expected a JSON object in {url}, got {type(value).__name__}")
    return value


def _at(url: str, name: str) -> str:
    return storage.join(url, *name.split("/"))
