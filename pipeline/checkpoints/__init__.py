"""Checkpoints: everything a run needs to continue and everything a generator needs to sample, as one atomic unit.

A checkpoint is a folder `<run>/checkpoints/step-000001200/`:

    unet/                   the averaged weights as a diffusers UNet2DModel folder
    scheduler/              the noise schedule as a diffusers DDPMScheduler folder
    model_index.json        makes the folder a diffusers pipeline (models without labels)
    network.safetensors     instead of these three: the averaged weights of a model of another family
    ema/<length>.safetensors  further averages of the weights;  ema.json: the lengths of all of them
    model.json              the model's configuration, from which it is rebuilt
    training/00000.safetensors, ...  the weights as they are, and the optimiser's moments
    training/state.json     resolved configuration of the run, position in the stream, loss history
    checkpoint.json         written last: step, and size and SHA-256 of every other file

The folder is a checkpoint if and only if `checkpoint.json` is there and what it lists is there; a writer that dies leaves a
folder that readers pass over. Weights are safetensors, everything else JSON; nothing is ever unpickled.
"""

from pipeline.checkpoints.find import checkpoint_urls, is_checkpoint, latest_good, resolve, without_latest
from pipeline.checkpoints.load import (
    CheckpointInfo,
    LoadedModel,
    TrainingSnapshot,
    inspect_checkpoint,
    load_model,
    load_training,
)
from pipeline.checkpoints.record import CheckpointRecord, read_record
from pipeline.checkpoints.sampling_copy import check_copy, copy_for_sampling, is_whole_copy
from pipeline.checkpoints.save import prune, save_checkpoint, save_model
from pipeline.checkpoints.snapshots import Reconstruction, reconstruct, save_snapshot, snapshot_steps

__all__ = [
    "CheckpointInfo",
    "CheckpointRecord",
    "LoadedModel",
    "Reconstruction",
    "TrainingSnapshot",
    "check_copy",
    "checkpoint_urls",
    "copy_for_sampling",
    "inspect_checkpoint",
    "is_checkpoint",
    "is_whole_copy",
    "latest_good",
    "load_model",
    "load_training",
    "prune",
    "read_record",
    "reconstruct",
    "resolve",
    "save_checkpoint",
    "save_model",
    "save_snapshot",
    "snapshot_steps",
    "without_latest",
]
