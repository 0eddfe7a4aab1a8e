"""What a sample set is a function of."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.families import SamplerConfig
from pipeline.generation.encode import ImageFormat, check_quality
from pipeline.generation.labels import LabelRule

# Raised whenever the same specification would give other pixels than before.
SAMPLING_VERSION = 2
Precision = Literal["fp32", "bf16"]
Layout = Literal["parquet", "webdataset"]


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
    precision: Precision = "fp32"
    """Arithmetic of the network; the sampler's own is float32."""
    compiled: bool = False
    """Whether the network is compiled, which rounds in other places; for samplers only, whose steps are many calls of one."""
    label_counts: tuple[int, ...] = ()
    """Instead of cycling: so many samples of each class, one class after another."""
    label_weights: tuple[float, ...] = ()
    """Instead of cycling: relative frequency of each class, drawn by sample."""
    conditions_sha256: str = ""
    """Instead of all that: digest of a Parquet file whose row i has the class of sample i."""
    image_format: ImageFormat = "png"
    """Encoding of the images."""
    quality: int | None = None
    """Quality of jpeg and webp, 1 to 100."""
    layout: Layout = "parquet"
    """What the parts are."""
    sampling_version: int = SAMPLING_VERSION
    """Version of the code that turns a specification into pixels."""

    def __post_init__(self) -> None:
        for name in ("part_rows", "batch_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        check_quality(self.image_format, self.quality)
        if self.image_format == "raw" and self.layout == "webdataset":
            raise ConfigError("image_format: got raw for webdataset, expected png, jpeg or webp: shards hold image files")
        if self.compiled and self.sampler is None:
            raise ConfigError("compiled: got true for a model that is sampled in one pass, expected false: only samplers gain")
        if self.guidance != 1.0 and not self.labels:
            raise ConfigError(f"guidance needs a model with labels, got {self.guidance} for a model without")

    def labels_of(self, first: int, rows: int) -> NDArray[np.int64] | None:
        """Returns the classes of samples [first, first + rows), int64 [rows]; None for a model without labels.

        Where there is a file of conditions, that knows the classes, and not the specification.
        """
        rule = LabelRule(classes=self.labels, counts=self.label_counts, weights=self.label_weights)
        return rule.of(self.seed, first, rows)

    def to_json(self) -> dict[str, Any]:
        """Returns the specification as JSON values."""
        lists = {name: list(getattr(self, name)) for name in ("labels", "label_counts", "label_weights")}
        return dataclasses.asdict(self) | lists
