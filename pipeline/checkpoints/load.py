"""Reading a checkpoint: the model to sample from, or the state to continue training from."""

import json
from dataclasses import dataclass
from typing import Any

import safetensors.torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from pipeline import storage
from pipeline.checkpoints.foreign import read_foreign
from pipeline.checkpoints.record import MODEL_NAME, RECORD_NAME, CheckpointRecord, read_file, read_record
from pipeline.checkpoints.training_files import read_training_files
from pipeline.checkpoints.weights import AVERAGES_NAME, average_name, read_weights, weights_name
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.models import Model, ModelConfig
from pipeline.order import Cursor

_MODEL_CONFIG = TypeAdapter(ModelConfig)


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint is, without its weights."""

    config: ModelConfig
    """The model."""
    digest: str
    """Identity of everything that can be sampled from it, see `CheckpointRecord.digest`."""
    ema_lengths: tuple[float, ...]
    """Lengths of the averages in it, the one that samples are made with first; empty for a diffusers folder."""

    def ema_length(self, wanted: float | None) -> float | None:
        """Returns the length that a wish stands for; None where the checkpoint names none.

        Raises:
            ConfigError: The checkpoint has no such average.
        """
        if wanted is None:
            return self.ema_lengths[0] if self.ema_lengths else None
        if wanted not in self.ema_lengths:
            there = ", ".join(f"{length:g}" for length in self.ema_lengths) or "none by length"
            raise ConfigError(f"ema: got {wanted:g}, the checkpoint's averages are {there}; others by jobs/average.py")
        return wanted


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with the averaged weights of a checkpoint."""

    model: Model
    """On the CPU, in evaluation mode."""
    digest: str
    """Identity of the checkpoint, see `CheckpointRecord.digest`."""
    step: int
    """Steps it was trained for; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class TrainingSnapshot:
    """What training continues from."""

    url: str
    """The checkpoint it was read from."""
    step: int
    """Steps done."""
    tensors: dict[str, Tensor]
    """Named tensors as `TrainState.tensors` gave them."""
    averages: dict[float, dict[str, Tensor]]
    """Averaged weights by their length, under the network's names."""
    cursor: Cursor
    """Position in the stream."""
    config: dict[str, Any]
    """Resolved configuration the checkpoint was made with."""
    history: list[tuple[int, float]]
    """(step, loss) pairs so far."""


def inspect_checkpoint(checkpoint_url: str) -> CheckpointInfo:
    """Returns what a checkpoint folder, or a folder that diffusers saved, is.

    Raises:
        CorruptDataError: A file is missing or damaged.
        ConfigError: A diffusers folder that cannot be sampled here.
    """
    if not _is_ours(checkpoint_url):
        foreign = read_foreign(checkpoint_url)
        return CheckpointInfo(foreign.config, foreign.digest, ())
    record = read_record(checkpoint_url)
    return CheckpointInfo(read_model_config(checkpoint_url, record), record.digest, _ema_lengths(checkpoint_url, record))


def load_model(checkpoint_url: str, ema: float | None = None) -> LoadedModel:
    """Returns the model of a checkpoint folder, or of a folder that diffusers saved.

    Args:
        checkpoint_url: The folder.
        ema: Length of the average wanted; None for the first.

    Raises:
        CorruptDataError: A file is missing or damaged.
        ConfigError: There is no average of the length, or the diffusers folder cannot be sampled here.
        PermanentStorageError: There is no checkpoint at the URL.
    """
    info = inspect_checkpoint(checkpoint_url)
    length = info.ema_length(ema)
    if length is None:
        foreign = read_foreign(checkpoint_url)
        step, name, weights = 0, weights_name(info.config), foreign.weights
    else:
        record = read_record(checkpoint_url)
        step, name = record.step, _average_file(info, length)
        weights = _average(checkpoint_url, record, info, length)
    model = Model(info.config)
    expected = {name: tuple(value.shape) for name, value in model.network.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    if got != expected:
        wrong = sorted(name for name in got.keys() | expected.keys() if got.get(name) != expected.get(name))[0]
        raise CorruptDataError(
            f"weights do not fit the model: {wrong} has shape {got.get(wrong)}, expected {expected.get(wrong)}",
            storage.join(checkpoint_url, *name.split("/")),
        )
    model.network.load_state_dict(weights)
    model.network.eval()
    return LoadedModel(model, info.digest, step)


def read_model_config(checkpoint_url: str, record: CheckpointRecord) -> ModelConfig:
    """Returns the configuration of a checkpoint's model.

    Raises:
        CorruptDataError: model.json is missing, damaged or not of the expected form.
    """
    data = read_file(checkpoint_url, record, MODEL_NAME)
    try:
        return _MODEL_CONFIG.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(part for part in map(str, first["loc"]) if not part.startswith("<"))
        raise CorruptDataError(
            f"model configuration: {where}: {first['msg']}", storage.join(checkpoint_url, MODEL_NAME)
        ) from error


def load_training(checkpoint_url: str) -> TrainingSnapshot:
    """Returns the training state of a checkpoint folder.

    Raises:
        CorruptDataError: A file is missing or damaged.
    """
    record = read_record(checkpoint_url)
    tensors, state = read_training_files(checkpoint_url, record)
    info = inspect_checkpoint(checkpoint_url)
    return TrainingSnapshot(
        url=checkpoint_url,
        step=record.step,
        tensors=tensors,
        averages={length: _average(checkpoint_url, record, info, length) for length in info.ema_lengths},
        cursor=Cursor(**state["cursor"]),
        config=state["config"],
        history=[(int(step), float(loss)) for step, loss in state["history"]],
    )


def _average_file(info: CheckpointInfo, length: float) -> str:
    return weights_name(info.config) if length == info.ema_lengths[0] else average_name(length)


def _average(checkpoint_url: str, record: CheckpointRecord, info: CheckpointInfo, length: float) -> dict[str, Tensor]:
    """One of the averages, under the network's names."""
    data = read_file(checkpoint_url, record, _average_file(info, length))
    return read_weights(info.config, data) if length == info.ema_lengths[0] else safetensors.torch.load(data)


def _is_ours(checkpoint_url: str) -> bool:
    return storage.exists(storage.join(checkpoint_url, RECORD_NAME))


def _ema_lengths(checkpoint_url: str, record: CheckpointRecord) -> tuple[float, ...]:
    return tuple(float(length) for length in json.loads(read_file(checkpoint_url, record, AVERAGES_NAME))["lengths"])
