"""Configuration of a training job."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import ConfigError
from pipeline.models import ModelConfig
from pipeline.plans.saved_config import load_config
from pipeline.plans.workers import WorkerConfig
from pipeline.stream import StreamConfig
from pipeline.training import OptimConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training job: what is trained on what, for how long, by how many."""

    data: str = ""
    """Shards: a pattern with braces or wildcards, a folder, a list of URLs in a .txt file, an index file, or a mixture file."""
    run_dir: str = ""
    """Folder or URL of the run: checkpoints, configuration and pictures go there; the same folder continues the run."""
    steps: int = 100_000
    """Optimiser steps of the whole run; raising it later continues a finished run."""
    seed: int = 0
    """Seed of initial weights, order and all noise."""
    checkpoint_every_s: float = 300.0
    """Seconds between checkpoints."""
    keep_checkpoints: int = 3
    """Newest checkpoints kept."""
    snapshot_every_steps: int = 0
    """Steps between snapshots of the averaged weights, from which jobs/average.py makes averages of any length; 0: none."""
    log_every_steps: int = 10
    """Steps averaged into one point of the loss curve."""
    metrics_port: int | None = None
    """Port of the Prometheus endpoint, 0 for any free one; unset: 9464 or the next free one."""
    preset: str = ""
    """Name of the preset the configuration started from."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The model."""
    stream: StreamConfig = field(default_factory=StreamConfig)
    """Batches and shuffling."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimisation."""
    workers: WorkerConfig = field(default_factory=WorkerConfig)
    """Processes."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}")
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")
        if self.checkpoint_every_s <= 0:
            raise ConfigError(f"checkpoint_every_s must be above 0, got {self.checkpoint_every_s}")
        if self.keep_checkpoints < 1:
            raise ConfigError(f"keep_checkpoints must be at least 1, got {self.keep_checkpoints}")
        if self.snapshot_every_steps < 0:
            raise ConfigError(f"snapshot_every_steps must be at least 0, got {self.snapshot_every_steps}")
        if self.log_every_steps < 1:
            raise ConfigError(f"log_every_steps must be at least 1, got {self.log_every_steps}")
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65535:
            raise ConfigError(f"metrics_port must be 0 to 65535, got {self.metrics_port}")
        if self.stream.batch_size % self.workers.num_workers:
            raise ConfigError(
                f"batch size {self.stream.batch_size} cannot be split over {self.workers.num_workers} workers; "
                "expected a multiple of the number of workers"
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the resolved configuration as JSON values; `load_train_config` reads them back."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def load_train_config(url: str) -> TrainConfig:
    """Returns a configuration from a JSON file: one written by hand, or the `config.json` of a run folder.

    Raises:
        ConfigError: The file is missing, is no JSON, or has a field that is unknown or of the wrong type.
    """
    return load_config(TrainConfig, url)
