"""How much of a cluster a job takes."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from pipeline.errors import ConfigError
from pipeline.storage import RangeCache


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
    cache_dir: str = ""
    """Folder on every node's local disk where loaders keep what they fetched, for all loaders of the node and later epochs;
    empty keeps nothing."""
    cache_gb: float = 50.0
    """The most that the folder takes on each node, in 1e9 bytes."""
    max_failures: int = 3
    """Times the group of trainers is restarted from the last checkpoint after a worker died."""

    def __post_init__(self) -> None:
        for name in ("num_workers", "num_loaders", "prefetch_batches"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("cpus_per_worker", "cpus_per_loader"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.cache_gb < math.inf:
            raise ConfigError(f"cache_gb must be above 0, got {self.cache_gb}")
        if self.cache_dir and not self.cache_dir.startswith("/"):
            raise ConfigError(f"cache_dir must be an absolute path on the nodes' disks, got {self.cache_dir!r}")
        if self.max_failures < 0:
            raise ConfigError(f"max_failures must be at least 0, got {self.max_failures}")

    @property
    def cache(self) -> RangeCache | None:
        """Where loaders keep ranges on their nodes; None where they keep none."""
        return RangeCache(folder=self.cache_dir, max_bytes=int(self.cache_gb * 1e9)) if self.cache_dir else None
