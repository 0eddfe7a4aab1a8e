"""Configuration of the diffusion model as a family."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from pipeline.errors import ConfigError
from pipeline.families.gaussians import PIXEL_WIDTH
from pipeline.families.likelihood import check_bin_width
from pipeline.families.predictions import Prediction
from pipeline.families.sampler_tables import Clip
from pipeline.families.schedules import Schedule, ScheduleName, from_beta, make_schedule
from pipeline.families.weightings import Weighting


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionConfig:
    """What is learned: the forward process, what the network predicts, and how its errors are weighed."""

    kind: Literal["diffusion"] = "diffusion"
    """Tells this family from others in a saved configuration."""
    schedule: ScheduleName = "cosine"
    """Noise schedule."""
    beta: tuple[float, ...] | None = None
    """Variances beta_1..beta_T of a schedule that has no name; they take the place of `schedule`."""
    timesteps: int = 1000
    """Number of steps T of the forward process."""
    prediction: Prediction = "v"
    """What the network predicts: v, the noise (eps), or the image (x0)."""
    weighting: Weighting = "simple"
    """Weight of each timestep's error: simple (1 in the prediction's own space), vlb (the bound itself), min-snr."""
    min_snr_gamma: float = 5.0
    """Largest signal-to-noise ratio that counts, for the min-snr weighting."""
    label_dropout: float = 0.1
    """Probability that a sample's label is replaced by the null label in training, for guidance; in [0, 1]."""
    clip: Clip | None = None
    """Treatment of the view of x_0 by samplers that are not told otherwise; unset: clip for pixels, none for other data."""
    bin_width: float | None = PIXEL_WIDTH
    """Distance of two pixel levels in [-1, 1], for likelihoods of levels; None for continuous data and densities."""

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("schedule", self.schedule, get_args(ScheduleName)),
            ("prediction", self.prediction, get_args(Prediction)),
            ("weighting", self.weighting, get_args(Weighting)),
        ):
            if value not in choices:
                raise ConfigError(f"DiffusionConfig.{name}: got {value!r}, expected one of {', '.join(choices)}")
        if self.timesteps < 2:
            raise ConfigError(f"DiffusionConfig.timesteps: got {self.timesteps}, expected at least 2")
        if self.beta is not None and len(self.beta) != self.timesteps:
            got = f"{len(self.beta)} variances for {self.timesteps} timesteps"
            raise ConfigError(f"DiffusionConfig.beta: got {got}, expected one a timestep")
        if not 0.0 <= self.label_dropout <= 1.0:
            raise ConfigError(f"DiffusionConfig.label_dropout: got {self.label_dropout}, expected 0 to 1")
        if not self.min_snr_gamma > 0.0:
            raise ConfigError(f"DiffusionConfig.min_snr_gamma: got {self.min_snr_gamma}, expected above 0")
        check_bin_width("DiffusionConfig.bin_width", self.bin_width)

    @property
    def default_clip(self) -> Clip:
        """Treatment of the view of x_0 where a sampler is not told otherwise."""
        return self.clip or ("none" if self.bin_width is None else "clip")

    def make_schedule(self) -> Schedule:
        """The schedule that the configuration names or holds."""
        if self.beta is not None:
            return from_beta("given", torch.tensor(self.beta, dtype=torch.float64))
        return make_schedule(self.schedule, self.timesteps)
