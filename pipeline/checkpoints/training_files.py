"""The files of a checkpoint that training continues from: tensors in parts of bounded size, and the position as JSON.

One file with the moments of a large model would be beyond what an S3 server takes in one request (5 GiB), and saving it would
take twice its size in memory.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import safetensors.torch
from torch import Tensor

from pipeline.checkpoints.diffusers_folder import json_bytes, weights_bytes
from pipeline.checkpoints.record import TRAINING_FOLDER, CheckpointRecord, read_file

PART_BYTES = 512 * 2**20
"""Bytes of tensors in one file, at most; a larger tensor has a file of its own."""
_STATE_NAME = TRAINING_FOLDER + "state.json"


def training_files(
    tensors: Mapping[str, Tensor], state: Mapping[str, Any], part_bytes: int = PART_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yields the files' names and contents, each made when it is asked for."""
    yield _STATE_NAME, json_bytes(state)
    part: dict[str, Tensor] = {}
    number, filled = 0, 0
    for name, tensor in tensors.items():
        if part and filled + tensor.nbytes > part_bytes:
            yield _part_name(number), weights_bytes(part)
            part, number, filled = {}, number + 1, 0
        part[name] = tensor
        filled += tensor.nbytes
    yield _part_name(number), weights_bytes(part)


def read_training_files(checkpoint_url: str, record: CheckpointRecord) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the tensors and the state.

    Raises:
        CorruptDataError: A file is missing or damaged.
    """
    state = json.loads(read_file(checkpoint_url, record, _STATE_NAME))
    tensors: dict[str, Tensor] = {}
    for name in sorted(record.files):
        if name.startswith(TRAINING_FOLDER) and name != _STATE_NAME:
            tensors |= safetensors.torch.load(read_file(checkpoint_url, record, name))
    return tensors, state


def _part_name(number: int) -> str:
    return f"{TRAINING_FOLDER}{number:05d}.safetensors"
