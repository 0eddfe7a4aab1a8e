"""The diffusion model as a family: its training loss and its full bound, for any network of the right signature."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.bound import decoder_term, diffusion_term, prior_term
from pipeline.families.forward import ForwardProcess
from pipeline.families.gaussians import PIXEL_WIDTH
from pipeline.families.likelihood import check_bin_width
from pipeline.families.noise import Draws
from pipeline.families.predictions import Prediction, prediction_target, x0_coefficients
from pipeline.families.schedules import Schedule, ScheduleName, make_schedule
from pipeline.families.terms import LossTerms, sum_of
from pipeline.families.weightings import Weighting, loss_weight

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""network(x_t [B, ...], t int64 [B] counted from 0, labels int64 [B] or None) -> prediction [B, ...].

The network's t is the paper's t minus one, 0..T-1, as diffusers counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionConfig:
    """What is learned: the forward process, what the network predicts, and how its errors are weighed."""

    schedule: ScheduleName = "cosine"
    """Noise schedule."""
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
        if not 0.0 <= self.label_dropout <= 1.0:
            raise ConfigError(f"DiffusionConfig.label_dropout: got {self.label_dropout}, expected 0 to 1")
        if not self.min_snr_gamma > 0.0:
            raise ConfigError(f"DiffusionConfig.min_snr_gamma: got {self.min_snr_gamma}, expected above 0")
        check_bin_width("DiffusionConfig.bin_width", self.bin_width)


class Diffusion(ForwardProcess):
    """A forward process together with the objectives of the reverse one. It has no parameters; the network has them all.

    Ref: Ho et al. 2020, arXiv 2006.11239.
    """

    def __init__(self, config: DiffusionConfig, schedule: Schedule | None = None) -> None:
        """The family of the configuration.

        Args:
            config: What is learned.
            schedule: Takes the place of the schedule the configuration names, for one that has no name; of as many steps.

        Raises:
            ConfigError: The schedule has another number of steps than the configuration.
        """
        schedule = make_schedule(config.schedule, config.timesteps) if schedule is None else schedule
        if schedule.timesteps != config.timesteps:
            got = f"schedule {schedule.name!r} of {schedule.timesteps} steps"
            raise ConfigError(f"Diffusion: got {got}, expected DiffusionConfig.timesteps={config.timesteps}")
        super().__init__(schedule)
        self.config = config

    def loss(self, network: Network, x0: Tensor, labels: Tensor | None, draws: Draws, null_label: int | None) -> LossTerms:
        """Training loss of one timestep a sample, drawn uniformly.

        With the vlb weighting the terms prior + diffusion + decoder are an unbiased estimate of the bound. With the others
        there is one term, named after the weighting: w(t) times the mean squared error of the prediction.

        Args:
            network: The network to train.
            x0: [B, C, H, W] images in [-1, 1], floating point.
            labels: int64 [B], or None for an unconditional network.
            draws: The batch's randomness; "timestep", "noise" and "label-dropout" are drawn.
            null_label: The label that means "no label"; None where the network knows none.

        Raises:
            ConfigError: Labels are to be dropped and there is no null label.
        """
        t = draws.integers("timestep", 1, self.timesteps + 1)
        noise = draws.normal("noise", tuple(x0.shape[1:])).to(x0.dtype)
        a, s = self.signal_and_noise(t, x0)
        x_t = a * x0 + s * noise
        output = network(x_t, t - 1, self._with_dropout(labels, draws, null_label)).to(x0.dtype)
        if self.config.weighting != "vlb":
            error = output - prediction_target(self.config.prediction, a, s, x0, noise)
            weight = loss_weight(self.config.weighting, self.config.prediction, self.alpha_bar[t], self.config.min_snr_gamma)
            return sum_of({self.config.weighting: weight.to(x0.dtype) * error.square().flatten(1).mean(1)}, is_bound=False)
        of_x_t, of_output = x0_coefficients(self.config.prediction, a, s)
        x0_hat = of_x_t * x_t + of_output * output
        decoder = decoder_term(self, x0, x0_hat, self.config.bin_width)
        terms = {
            "prior": prior_term(self, x0),
            # One of T timesteps was drawn, so each stands for T.
            "diffusion": self.timesteps * diffusion_term(self, x0, x0_hat, t),
            "decoder": self.timesteps * torch.where(t == 1, decoder, torch.zeros_like(decoder)),
        }
        return sum_of(terms, is_bound=True)

    @torch.no_grad()
    def bound(
        self, network: Network, x0: Tensor, labels: Tensor | None, draws: Draws, *, timesteps_per_call: int = 1
    ) -> LossTerms:
        """The full negative evidence lower bound: all T timesteps, one draw of x_t each; T network evaluations a sample.

        Pixels (bin_width set) lie in [-1, 1], so the network's view of x_0 is clamped there, as the samplers do.

        Args:
            network: The trained network.
            x0: [B, C, H, W] images in [-1, 1], on the pixel levels if bin_width is set.
            labels: int64 [B], or None; never dropped here.
            draws: The batch's randomness; "bound/t" is drawn for every t.
            timesteps_per_call: How many timesteps go through the network at once, as one batch.

        Returns:
            Terms prior, diffusion and decoder; `bits_per_dim()` is the figure of merit.

        Raises:
            ConfigError: timesteps_per_call is below 1.
        """
        if timesteps_per_call < 1:
            raise ConfigError(f"bound: got timesteps_per_call={timesteps_per_call}, expected at least 1")
        diffusion = torch.zeros(len(x0), dtype=x0.dtype, device=x0.device)
        for last in range(self.timesteps, 1, -timesteps_per_call):
            steps = range(last, max(1, last - timesteps_per_call), -1)
            t = torch.tensor(steps, device=x0.device).repeat_interleave(len(x0))
            images = x0.repeat(len(steps), *(1 for _ in x0.shape[1:]))
            x0_hat = self._x0_hat(network, images, labels, draws, steps)
            diffusion += diffusion_term(self, images, x0_hat, t).view(len(steps), len(x0)).sum(0)
        decoder = decoder_term(self, x0, self._x0_hat(network, x0, labels, draws, range(1, 2)), self.config.bin_width)
        return sum_of({"prior": prior_term(self, x0), "diffusion": diffusion, "decoder": decoder}, is_bound=True)

    def _x0_hat(self, network: Network, images: Tensor, labels: Tensor | None, draws: Draws, steps: range) -> Tensor:
        """The network's view of x_0 from one draw of x_t a sample and step; rows are ordered by step, then sample."""
        shape = tuple(images.shape[1:])
        noise = torch.cat([draws.normal(f"bound/{step}", shape) for step in steps]).to(images.dtype)
        t = torch.tensor(steps, device=images.device).repeat_interleave(len(images) // len(steps))
        a, s = self.signal_and_noise(t, images)
        x_t = a * images + s * noise
        output = network(x_t, t - 1, None if labels is None else labels.repeat(len(steps))).to(images.dtype)
        of_x_t, of_output = x0_coefficients(self.config.prediction, a, s)
        x0_hat = of_x_t * x_t + of_output * output
        return x0_hat if self.config.bin_width is None else x0_hat.clamp(-1.0, 1.0)

    def _with_dropout(self, labels: Tensor | None, draws: Draws, null_label: int | None) -> Tensor | None:
        if labels is None or self.config.label_dropout == 0.0:
            return labels
        if null_label is None:
            got = f"label_dropout={self.config.label_dropout} and no null label"
            raise ConfigError(f"Diffusion.loss: got {got}, expected a null label or label_dropout=0")
        dropped = draws.uniform("label-dropout") < self.config.label_dropout
        return torch.where(dropped, null_label, labels)
