"""Reading a checkpoint: the model to sample from, or the state to continue training from."""

import json
from dataclasses import dataclass
from typing import Any

import safetensors.torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from pipeline import storage
from pipeline.checkpoints.record import MODEL_NAME, CheckpointRecord, read_file, read_record
from pipeline.checkpoints.weights import read_weights, weights_name
from pipeline.errors import CorruptDataError
from pipeline.models import Model, ModelConfig
from pipeline.order import Cursor

_MODEL_CONFIG = TypeAdapter(ModelConfig)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with the averaged weights of a checkpoint."""

    model: Model
    """On the CPU, in evaluation mode."""
    digest: str
    """Identity of the checkpoint, see `CheckpointRecord.digest`."""
    step: int
    """Steps it was trained for."""


@dataclass(frozen=True, slots=True)
class TrainingSnapshot:
    """What training continues from."""

    url: str
    """The checkpoint it was read from."""
    step: int
    """Steps done."""
    tensors: dict[str, Tensor]
    """Named tensors as `TrainState.tensors` gave them."""
    cursor: Cursor
    """Position in the stream."""
    config: dict[str, Any]
    """Resolved configuration the checkpoint was made with."""
    history: list[tuple[int, float]]
    """(step, loss) pairs so far."""


def load_model(checkpoint_url: str) -> LoadedModel:
    """Returns the model of a checkpoint folder.

    Raises:
        CorruptDataError: A file is missing or damaged.
        PermanentStorageError: There is no checkpoint at the URL.
    """
    record = read_record(checkpoint_url)
    model = Model(read_model_config(checkpoint_url, record))
    name = weights_name(model.config)
    weights = read_weights(model.config, read_file(checkpoint_url, record, name))
    expected = {name: tuple(value.shape) for name, value in model.network.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    if got != expected:
        wrong = sorted(name for name in got.keys() | expected.keys() if got.get(name) != expected.get(name))[0]
        raise CorruptDataError(
            f"weights do not fit the model: {wrong} has shape {got.get(wrong)}, expected {expected.get(wrong)}",
            storage.join(checkpoint_url, name),
        )
    model.network.load_state_dict(weights)
    model.network.eval()
    return LoadedModel(model, record.digest, record.step)


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
        raise CorruptDataError(
            f"model configuration: {'.'.join(p for p in map(str, first['loc']) if not p.startswith('<'))}: {first['msg']}",
            storage.join(checkpoint_url, MODEL_NAME),
        ) from error


def load_training(checkpoint_url: str) -> TrainingSnapshot:
    """Returns the training state of a checkpoint folder.

    Raises:
        CorruptDataError: A file is missing or damaged.
    """
    record = read_record(checkpoint_url)
    state = json.loads(read_file(checkpoint_url, record, "training.json"))
    return TrainingSnapshot(
        url=checkpoint_url,
        step=record.step,
        tensors=safetensors.torch.load(read_file(checkpoint_url, record, "training.safetensors")),
        cursor=Cursor(**state["cursor"]),
        config=state["config"],
        history=[(int(step), float(loss)) for step, loss in state["history"]],
    )
