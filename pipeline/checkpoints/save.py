"""Writing a checkpoint: every file, then the record that makes it one.

Files are made one at a time, so that saving takes twice the largest of them in memory, whatever the size of the model.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from torch import Tensor

from pipeline import storage
from pipeline.checkpoints.diffusers_folder import json_bytes, weights_bytes
from pipeline.checkpoints.find import checkpoint_urls, step_of, unfinished_urls
from pipeline.checkpoints.record import MODEL_NAME, RECORD_NAME, FileRecord, make_record, record_bytes, record_of
from pipeline.checkpoints.training_files import training_files
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
    fence: storage.Fence | None = None,
) -> str:
    """Writes a checkpoint and returns its URL; readers see all of it or none.

    Args:
        run_url: The run's folder.
        step: Optimiser steps done.
        model: The model, for its configuration.
        averages: Averaged weights by their length; samples are made with the first unless another is asked for.
        training_tensors: What training continues from beside the averages.
        cursor: Position in the stream after `step` steps.
        config: The run's resolved configuration, as JSON values.
        history: (step, loss) pairs from the run's start, for the loss curve.
        fence: The lease on the run's folder, looked at before every file: whoever took it over may be at this very step.

    Raises:
        CommitConflict: Another job took the folder over; the checkpoint is not this one's.
        StorageError: The store refused a file; the checkpoint then does not exist.
    """
    url = storage.join(run_url, "checkpoints", f"step-{step:09d}")
    state = {"config": config, "cursor": cursor.to_json(), "history": [list(point) for point in history]}
    _write(url, step, chain(_model_files(model, averages), training_files(training_tensors, state)), fence)
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


def _model_files(model: Model, averages: Mapping[float, Mapping[str, Tensor]]) -> Iterator[tuple[str, bytes]]:
    first, *others = averages
    yield MODEL_NAME, json_bytes(dataclasses.asdict(model.config))
    yield AVERAGES_NAME, json_bytes({"lengths": list(averages)})
    yield from weights_files(model, averages[first])
    for length in others:
        yield average_name(length), weights_bytes(averages[length])


def _write(url: str, step: int, contents: Iterable[tuple[str, bytes]], fence: storage.Fence | None = None) -> None:
    files: dict[str, FileRecord] = {}
    for name, data in contents:
        _check(fence)
        storage.put_replace(storage.join(url, *name.split("/")), data)
        files[name] = record_of(data)
        del data  # before the next one is made
    _check(fence)
    storage.put_replace(storage.join(url, RECORD_NAME), record_bytes(make_record(step, files)))


def _check(fence: storage.Fence | None) -> None:
    if fence is not None:
        fence.check()


def prune(run_url: str, keep: int, step: int, fence: storage.Fence | None = None) -> list[str]:
    """Removes all but the newest `keep` checkpoints up to a step, and what killed writers left of others before it.

    Args:
        run_url: The run's folder.
        keep: Checkpoints to keep; at least one always is.
        step: The step that was just saved: what is there of later ones could not be read, or training would be there by now,
            and does not count.
        fence: The lease on the run's folder, looked at before each is removed.

    Returns:
        The URLs removed.

    Raises:
        CommitConflict: Another job took the folder over, and may be reading what is left.
        StorageError: The store refused.
    """
    whole = [url for url in checkpoint_urls(run_url) if step_of(url) <= step]
    left = [url for url in unfinished_urls(run_url) if step_of(url) < step]
    removed = [*whole[max(1, keep) :], *left]
    for url in removed:
        _check(fence)
        storage.remove_tree(url)
    return removed
