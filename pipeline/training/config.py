"""How weights are optimised."""

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import ConfigError
from pipeline.networks.averaging import LONGEST


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
    ema_lengths: tuple[float, ...] = (0.06,)
    """Lengths of the averages of weights that are kept, each the standard deviation of what it averages over as a share of
    the steps done, in (0, 0.288]. Samples are made with the first unless another is asked for."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward pass; auto is bf16 on CUDA and fp32 on CPU."""
    compiled: bool = False
    """Whether the network is compiled: faster steps in less memory, after a minute or two at every start."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate must be above 0, got {self.learning_rate}")
        for name in ("warmup_steps", "weight_decay", "grad_clip_norm"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas must be in [0, 1), got {self.betas}")
        if not self.ema_lengths or any(not 0 < length < LONGEST for length in self.ema_lengths):
            raise ConfigError(f"ema_lengths must be one or more numbers above 0 and below 0.288, got {self.ema_lengths}")
        if len(set(self.ema_lengths)) < len(self.ema_lengths):
            raise ConfigError(f"ema_lengths must differ from each other, got {self.ema_lengths}")

    def learning_rate_at(self, step: int) -> float:
        """Returns the learning rate of step `step`, counted from 0."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
