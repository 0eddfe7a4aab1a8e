"""Writing a checkpoint: every file, then the record that makes it one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pipeline import storage
from pipeline.checkpoints.diffusers_folder import json_bytes, weights_bytes
from pipeline.checkpoints.find import checkpoint_urls
from pipeline.checkpoints.record import MODEL_NAME, RECORD_NAME, make_record, record_bytes
from pipeline.checkpoints.weights import AVERAGES_NAME, average_name, weights_files
from pipeline.models import Model
from pipeline.order import Cursor


def save_checkpoint(
    run_url: str,
    *,
    step: int,
    model: Model,
    averages: Mapping[float, Mapping[str, Tensor]],
    training_tensors: Mapping[str, Tensor],
    cursor: Cursor,
    config: Mapping[str, Any],
    history: Sequence[tuple[int, float]],
) -> str:
    """Writes a checkpoint and returns its URL; readers see all of it or none.

    Args:
        run_url: The run's folder.
        step: Optimiser steps done.
        model: The model, for its configuration.
        averages: Averaged weights by their length; samples are made with the first unless another is asked for.
        training_tensors: What training continues from.
        cursor: Position in the stream after `step` steps.
        config: The run's resolved configuration, as JSON values.
        history: (step, loss) pairs from the run's start, for the loss curve.

    Raises:
        StorageError: The store refused a file; the checkpoint then does not exist.
    """
    url = storage.join(run_url, "checkpoints", f"step-{step:09d}")
    contents = {
        **_model_files(model, averages),
        "training.safetensors": weights_bytes(training_tensors),
        "training.json": json_bytes({"config": config, "cursor": cursor.to_json(), "history": [list(p) for p in history]}),
    }
    _write(url, step, contents)
    return url


def save_model(url: str, *, step: int, model: Model, averages: Mapping[float, Mapping[str, Tensor]]) -> None:
    """Writes a checkpoint that can be sampled from and not be trained on; readers see all of it or none.

    Args:
        url: The checkpoint's folder.
        step: Optimiser steps that the weights are of.
        model: The model, for its configuration.
        averages: Averaged weights by their length.

    Raises:
        StorageError: The store refused a file; the checkpoint then does not exist.
    """
    _write(url, step, _model_files(model, averages))


def _model_files(model: Model, averages: Mapping[float, Mapping[str, Tensor]]) -> dict[str, bytes]:
    first, *others = averages
    return {
        **weights_files(model, averages[first]),
        **{average_name(length): weights_bytes(averages[length]) for length in others},
        AVERAGES_NAME: json_bytes({"lengths": list(averages)}),
        MODEL_NAME: json_bytes(dataclasses.asdict(model.config)),
    }


def _write(url: str, step: int, contents: Mapping[str, bytes]) -> None:
    for name, data in contents.items():
        storage.put_replace(storage.join(url, *name.split("/")), data)
    storage.put_replace(storage.join(url, RECORD_NAME), record_bytes(make_record(step, contents)))


def prune(run_url: str, keep: int) -> list[str]:
    """Removes all but the newest `keep` checkpoints and returns the URLs removed; at least one is always kept."""
    old = checkpoint_urls(run_url)[max(1, keep) :]
    for url in old:
        storage.remove_tree(url)
    return old
