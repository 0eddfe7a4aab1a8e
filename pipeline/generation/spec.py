"""What a sample set is a function of."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.families import SamplerConfig

# Raised whenever the same specification would give other pixels than before.
SAMPLING_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSpec:
    """Everything that decides the pixels of sample i and the bytes of a part; two equal specifications give equal sets.

    How many samples are made is left out: a set can be extended later without touching what is there.
    """

    checkpoint_digest: str
    """Identity of the checkpoint's model."""
    ema: float | None = None
    """Length of the average of weights in the checkpoint; None where it has only one, without a length."""
    seed: int
    """Seed of all noise."""
    sampler: SamplerConfig | None
    """The reverse process; None for models that are sampled in one pass."""
    guidance: float
    """Classifier-free guidance w; 1 is the plain conditional model."""
    labels: tuple[int, ...]
    """Classes the samples cycle through; empty for a model without labels."""
    draw_pixels: bool = False
    """Whether pixels are drawn from the last distribution instead of being its mean."""
    part_rows: int
    """Rows of a part; parts begin at its multiples."""
    batch_rows: int
    """Images sampled at a time. Fixed, as kernels may round differently for other batch shapes."""
    image_format: str = "png"
    """Encoding of the image column."""
    sampling_version: int = SAMPLING_VERSION
    """Version of the code that turns a specification into pixels."""

    def __post_init__(self) -> None:
        for name in ("part_rows", "batch_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.guidance != 1.0 and not self.labels:
            raise ConfigError(f"guidance needs a model with labels, got {self.guidance} for a model without")

    def labels_of(self, first: int, rows: int) -> NDArray[np.int64] | None:
        """Returns the classes of samples [first, first + rows), int64 [rows]; None for a model without labels."""
        if not self.labels:
            return None
        return np.asarray(self.labels, np.int64)[np.arange(first, first + rows) % len(self.labels)]

    def to_json(self) -> dict[str, Any]:
        """Returns the specification as JSON values."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}
