"""How weights are optimised."""

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """Optimiser, learning rate and weight averaging."""

    learning_rate: float = 2e-4
    """Learning rate of AdamW after the warm-up."""
    warmup_steps: int = 500
    """Steps over which the learning rate rises linearly from 0."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of AdamW's first and second moments, each in [0, 1)."""
    grad_clip_norm: float = 1.0
    """Gradients are scaled down to this global norm; 0 turns clipping off."""
    ema_half_life_steps: float = 2000.0
    """Half-life of the averaged weights that samples are made with, in steps."""
    ema_ramp_up: float = 0.05
    """Early on the half-life is this share of the steps done, so that the average forgets the initial weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward pass; auto is bf16 on CUDA and fp32 on CPU."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate must be above 0, got {self.learning_rate}")
        for name in ("warmup_steps", "weight_decay", "grad_clip_norm"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be in [0, 1), got {self.betas}")
        if self.ema_half_life_steps <= 0 or self.ema_ramp_up <= 0:
            raise ConfigError(
                f"ema_half_life_steps and ema_ramp_up must be above 0, got {self.ema_half_life_steps} and {self.ema_ramp_up}"
            )

    def learning_rate_at(self, step: int) -> float:
        """Returns the learning rate of step `step`, counted from 0."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))

    def ema_decay_at(self, step: int) -> float:
        """Returns the share of the old average that step `step` keeps.

        Ref: Karras et al. 2022 (arXiv 2206.00364), training code: half-life limited to a share of the progress.
        """
        half_life = min(self.ema_half_life_steps, max(step, 1) * self.ema_ramp_up)
        return 0.5 ** (1.0 / max(half_life, 1e-8))
