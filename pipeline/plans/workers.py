"""How much of a cluster a job takes."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Processes of a training job."""

    num_workers: Annotated[int, tyro.conf.arg(aliases=("--num-workers",))] = 1
    """Trainer processes; on a cluster with GPUs, one GPU each."""
    num_loaders: Annotated[int, tyro.conf.arg(aliases=("--num-loaders",))] = 1
    """Loader actors that read and decode; they need no GPU and may run anywhere in the cluster."""
    accelerator: Literal["auto", "gpu", "cpu"] = "auto"
    """Where trainers run; auto takes GPUs where the cluster has enough of them."""
    cpus_per_worker: float = 1.0
    """CPUs Ray reserves for a trainer, and its number of threads on CPU."""
    cpus_per_loader: float = 1.0
    """CPUs Ray reserves for a loader."""
    share_cpus: bool = True
    """On a cluster with fewer CPUs than all processes ask for: share what is there instead of waiting for more."""
    prefetch_batches: int = 4
    """Batches each trainer asks its loaders for in advance."""
    max_failures: int = 3
    """Times the group of trainers is restarted from the last checkpoint after a worker died."""

    def __post_init__(self) -> None:
        for name in ("num_workers", "num_loaders", "prefetch_batches"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("cpus_per_worker", "cpus_per_loader"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.max_failures < 0:
            raise ConfigError(f"max_failures must be at least 0, got {self.max_failures}")
