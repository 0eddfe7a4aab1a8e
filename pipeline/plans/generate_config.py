"""Configuration of a generation job."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import ConfigError
from pipeline.families.sampler_tables import Clip, SamplerName
from pipeline.generation import ImageFormat, Layout, Precision

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateConfig:
    """A generation job: which samples of which checkpoint, and where they go."""

    checkpoint: str = ""
    """A checkpoint folder, one that diffusers saved, or a run folder (URL or URL@latest): its newest good checkpoint, which
    stays the one for this output even when the run goes on. Several, separated by commas or matched by *, are a sweep."""
    ema: float | None = None
    """Length of the average of weights to sample with, one of the checkpoint's; unset: its first."""
    output: str = ""
    """Folder or URL of the sample set; the same folder continues the set. {date} becomes --date, {checkpoint} the name of each
    checkpoint of a sweep."""
    date: str = ""
    """Logical date of a scheduled run, such as 2026-01-31, for {date} in URLs; never taken from the clock."""
    num_samples: int = 0
    """Samples of the finished set; a larger number later extends it. Label counts and conditions have a number of their own."""
    seed: int = 0
    """Seed of all noise; sample i depends on the seed and i alone."""
    sampler: SamplerName | None = None
    """The reverse process of a diffusion model; unset: dpm++2m."""
    sampler_steps: int | None = None
    """Network evaluations per image (twice as many for heun); unset: 20."""
    eta: float | None = None
    """Randomness of ddim, 0 to 1; unset: 0."""
    clip: Clip | None = None
    """What happens to the view of the image in every step: none, clip to [-1, 1], or dynamic thresholding; unset: clip."""
    dynamic_quantile: float | None = None
    """Of dynamic thresholding: the share of an image's values that are not thresholded; unset: 0.995."""
    guidance: float = 1.0
    """Classifier-free guidance; 1 is the plain conditional model."""
    draw_pixels: bool = False
    """Of a VAE: draw each pixel from its distribution, noise and all, instead of taking its mean."""
    labels: str = "all"
    """Classes the samples cycle through: all, one (3) or several (0,1,2); or counts (0:500,1:300) or weights (0=0.7,1=0.3)."""
    conditions: str = ""
    """Parquet file with a column label and, if wanted, a column key that is carried through: one row a sample."""
    format: Layout = "parquet"
    """Parquet parts, or WebDataset shards that train.py streams again."""
    image_format: ImageFormat = "png"
    """Encoding of the images; raw is the pixels themselves."""
    quality: int | None = None
    """Quality of jpeg (unset: 95) and webp (unset: lossless), 1 to 100."""
    num_workers: int | None = None
    """Sampler processes; unset: one per GPU, or on CPU one per core, more or fewer as the cluster grows and shrinks."""
    share_cpus: bool = True
    """On a cluster with fewer CPUs than sampler processes: share what is there instead of waiting for more."""
    part_rows: int = 1000
    """Rows of a Parquet part."""
    batch_rows: int = 100
    """Images sampled at a time."""
    precision: Precision = "fp32"
    """Arithmetic of the network: bf16 is faster on GPUs and slower on most CPUs."""
    compiled: bool = False
    """Compile the network first: takes a minute for each worker, and needs a C++ compiler there; for long runs."""
    accelerator: Literal["auto", "gpu", "cpu"] = "auto"
    """Where samplers run; auto takes GPUs where the cluster has some."""
    max_part_failures: int = 3
    """Times a part is tried again, on any worker, before the job gives up on it and goes on with the others."""
    part_timeout_s: float = 600.0
    """Seconds after which a worker that does not finish a part is taken for stuck: it is killed, and others make its parts.
    Never before ten times what the slowest part so far took, or an hour without a new image before the first is made."""
    max_failed_parts: int = 10
    """Parts that may be given up before the job stops."""
    sole_writer: bool = False
    """Your promise that no other job ever writes to the output: needed on stores that ignore
    conditional puts and on file systems without locks."""
    metrics_port: int | None = None
    """Port of the Prometheus endpoint, 0 for any free one; unset: 9474 or the next free one."""

    def __post_init__(self) -> None:
        for name in ("sampler_steps", "part_rows", "batch_rows", "num_workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if not self.part_timeout_s > 0:
            raise ConfigError(f"part_timeout_s must be above 0, got {self.part_timeout_s}")
        if not abs(self.guidance) <= _LARGEST_FLOAT32:
            raise ConfigError(f"guidance: got {self.guidance}, expected a finite number of float32, below 3.4e38")
        if self.num_samples < 0:
            raise ConfigError(f"num_samples must be at least 1, got {self.num_samples}")
        for name in ("seed", "max_part_failures", "max_failed_parts"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65535:
            raise ConfigError(f"metrics_port must be 0 to 65535, got {self.metrics_port}")
