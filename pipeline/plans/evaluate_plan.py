"""An evaluation: which checkpoint on which images, checked before anything is computed."""

from dataclasses import dataclass

from pipeline.checkpoints import inspect_checkpoint, resolve
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.evaluation import spread_over
from pipeline.models import ModelConfig
from pipeline.shards import MAX_PIXELS, ShardIndex, open_data


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """Bits per dimension of a checkpoint on a data set, for every family."""

    checkpoint: str = ""
    """A run folder (URL or URL@latest: its latest good checkpoint), one checkpoint folder, or a folder that diffusers saved."""
    data: str = ""
    """Shards, as for training; images that the model was not trained on tell more."""
    num_samples: int | None = None
    """Images to evaluate, taken from all shards in proportion; unset: all."""
    seed: int = 0
    """Seed of all draws; with the number of an image it decides them."""
    ema: float | None = None
    """Length of the average of weights, one of the checkpoint's; unset: its first."""
    batch_rows: int = 100
    """Images at a time."""
    image_field: str = ""
    """The member with the image, where samples have several; empty where they have one."""
    max_pixels: int = MAX_PIXELS
    """Images of more pixels, width times height as stored, are refused."""
    accelerator: str = "auto"
    """auto (a GPU where there is one), gpu or cpu."""
    summary: str | None = None
    """File that the outcome is written to, as JSON."""

    def __post_init__(self) -> None:
        if self.num_samples is not None and self.num_samples < 2:
            raise ConfigError(f"num_samples must be at least 2, got {self.num_samples}")
        for name in ("batch_rows", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.accelerator not in ("auto", "gpu", "cpu"):
            raise ConfigError(f"accelerator must be auto, gpu or cpu, got {self.accelerator}")


@dataclass(frozen=True, slots=True)
class EvaluatePlan:
    """An evaluation that is ready to start."""

    config: EvaluateConfig
    """What was asked for."""
    checkpoint: str
    """The checkpoint folder that was resolved."""
    digest: str
    """Its identity."""
    ema: float | None
    """Length of the average that is evaluated; None where the checkpoint names none."""
    model: ModelConfig
    """Its model."""
    index: ShardIndex
    """The data."""
    rows: list[int]
    """Images taken from each shard, its first ones."""


def plan_evaluation(config: EvaluateConfig) -> EvaluatePlan:
    """Returns the plan of an evaluation.

    Raises:
        ConfigError: A flag, the checkpoint or the data does not fit.
        TransientStorageError: A store does not answer.
    """
    for flag, value in (("--checkpoint", config.checkpoint), ("--data", config.data)):
        if not value:
            raise ConfigError(f"{flag} is missing; expected a path or URL")
    try:
        checkpoint = resolve(config.checkpoint)
        info = inspect_checkpoint(checkpoint)
        index = open_data(config.data)
    except (CorruptDataError, PermanentStorageError) as error:
        raise ConfigError(str(error)) from error
    wanted = index.num_samples if config.num_samples is None else config.num_samples
    if wanted > index.num_samples:
        raise ConfigError(f"num_samples must be at most the {index.num_samples} of {config.data}, got {wanted}")
    rows = spread_over((shard.num_samples for shard in index.shards), wanted)
    return EvaluatePlan(config, checkpoint, info.digest, info.ema_length(config.ema), info.config, index, rows)
