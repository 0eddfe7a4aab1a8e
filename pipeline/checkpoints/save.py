"""Writing a checkpoint: every file, then the record that makes it one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pipeline import storage
from pipeline.checkpoints.diffusers_folder import json_bytes, weights_bytes
from pipeline.checkpoints.find import checkpoint_urls
from pipeline.checkpoints.record import MODEL_NAME, RECORD_NAME, make_record, record_bytes
from pipeline.checkpoints.weights import weights_files
from pipeline.models import Model
from pipeline.order import Cursor


def save_checkpoint(
    run_url: str,
    *,
    step: int,
    model: Model,
    ema: Mapping[str, Tensor],
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
        ema: The averaged weights that samples are made with.
        training_tensors: What training continues from.
        cursor: Position in the stream after `step` steps.
        config: The run's resolved configuration, as JSON values.
        history: (step, loss) pairs from the run's start, for the loss curve.

    Raises:
        StorageError: The store refused a file; the checkpoint then does not exist.
    """
    url = storage.join(run_url, "checkpoints", f"step-{step:09d}")
    contents = {
        **weights_files(model, ema),
        MODEL_NAME: json_bytes(dataclasses.asdict(model.config)),
        "training.safetensors": weights_bytes(training_tensors),
        "training.json": json_bytes({"config": config, "cursor": cursor.to_json(), "history": [list(p) for p in history]}),
    }
    for name, data in contents.items():
        storage.put_replace(storage.join(url, *name.split("/")), data)
    storage.put_replace(storage.join(url, RECORD_NAME), record_bytes(make_record(step, contents)))
    return url


def prune(run_url: str, keep: int) -> list[str]:
    """Removes all but the newest `keep` checkpoints and returns the URLs removed; at least one is always kept."""
    old = checkpoint_urls(run_url)[max(1, keep) :]
    for url in old:
        storage.remove_tree(url)
    return old
