"""Snapshots of the averaged weights during training, and the average of any length made of them afterwards.

A run that keeps snapshots writes `<run>/snapshots/step-000000100.safetensors`, one file with all its averages, every so many
steps. They are never removed: an average of another length needs those from long ago.

Ref: Karras et al. 2023, arXiv 2312.02696, section 3.1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
from torch import Tensor

from pipeline import storage
from pipeline.checkpoints.diffusers_folder import weights_bytes
from pipeline.errors import ConfigError
from pipeline.networks.averaging import Profile, combined, exponent, reconstruction

_FILE = re.compile(r"step-(\d{9,})\.safetensors")


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """An average that was not kept in training."""

    weights: dict[str, Tensor]
    """Under the network's names."""
    snapshots: int
    """Stored averages that went into it."""
    missed: float
    """Distance of its profile from the one asked for, as a share of that one's norm; 0 is exact."""


def save_snapshot(run_url: str, step: int, averages: Mapping[float, Mapping[str, Tensor]]) -> str:
    """Writes all averages of a step as one file and returns its URL; a file of the same step is replaced."""
    url = storage.join(run_url, "snapshots", f"step-{step:09d}.safetensors")
    tensors = {f"{length:g}/{name}": value for length, average in averages.items() for name, value in average.items()}
    storage.put_replace(url, weights_bytes(tensors))
    return url


def snapshot_steps(run_url: str) -> list[int]:
    """Returns the steps of a run's snapshots, oldest first."""
    listed = storage.list_objects(storage.join(run_url, "snapshots"), recursive=True)
    matches = [_FILE.fullmatch(item.url.rpartition("/")[2]) for item in listed]
    return sorted(int(match[1]) for match in matches if match)


def reconstruct(run_url: str, length: float, step: int) -> Reconstruction:
    """Returns the average of any length at a step, from the snapshots taken up to then.

    Args:
        run_url: The run's folder.
        length: Standard deviation of what is averaged over, as a share of the steps done.
        step: Steps that the average ends at; there must be a snapshot of it, for what came later than the last is not known.

    Raises:
        ConfigError: There are no snapshots, none of that step, or the length is out of range.
    """
    steps = [there for there in snapshot_steps(run_url) if there <= step]
    if not steps or steps[-1] != step:
        there = f"the last before it is of step {steps[-1]}" if steps else "the run has none"
        raise ConfigError(f"{run_url}: expected a snapshot of step {step}, {there} (train with --snapshot-every-steps)")
    wanted = Profile(step, exponent(length))
    profiles: list[Profile] = []
    averages: list[dict[str, Tensor]] = []
    for at in steps:
        tensors = safetensors.torch.load(storage.read_bytes(storage.join(run_url, "snapshots", f"step-{at:09d}.safetensors")))
        by_length: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kept, _, parameter = name.partition("/")
            by_length.setdefault(kept, {})[parameter] = value
        for kept, average in sorted(by_length.items()):
            profiles.append(Profile(at, exponent(float(kept))))
            averages.append(average)
    factors, missed = reconstruction(profiles, wanted)
    return Reconstruction(combined(averages, factors.tolist()), len(averages), missed)
