"""The diffusion model as a family: its training loss and its full bound, for any network of the right signature."""

import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.bound import decoder_term, diffusion_term, prior_term
from pipeline.families.diffusion_config import DiffusionConfig
from pipeline.families.family import Network, SampleRequest
from pipeline.families.forward import ForwardProcess
from pipeline.families.noise import Draws, normal, stream_key
from pipeline.families.predictions import prediction_target, x0_coefficients
from pipeline.families.sampler_tables import SamplerConfig, SamplerTable, sampler_table
from pipeline.families.samplers import OnStep, sample
from pipeline.families.schedules import Schedule
from pipeline.families.terms import LossTerms, sum_of
from pipeline.families.weightings import loss_weight


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
        schedule = config.make_schedule() if schedule is None else schedule
        if schedule.timesteps != config.timesteps:
            got = f"schedule {schedule.name!r} of {schedule.timesteps} steps"
            raise ConfigError(f"Diffusion: got {got}, expected DiffusionConfig.timesteps={config.timesteps}")
        super().__init__(schedule)
        self.config = config
        self._tables: dict[SamplerConfig, SamplerTable] = {}

    @property
    def default_sampler(self) -> SamplerConfig:
        """DPM-Solver++(2M) in 20 steps, or in T where that is less."""
        return SamplerConfig(steps=min(20, self.timesteps), clip=self.config.default_clip)

    def loss(
        self,
        network: Network,
        x0: Tensor,
        labels: Tensor | None,
        draws: Draws,
        null_label: int | None = None,
        step: int | None = None,
    ) -> LossTerms:
        """Training loss of one timestep a sample, drawn uniformly.

        With the vlb weighting the terms prior + diffusion + decoder are an unbiased estimate of the bound. With the others
        there is one term, named after the weighting: w(t) times the mean squared error of the prediction.

        Args:
            network: The network to train.
            x0: [B, C, H, W] images in [-1, 1], floating point.
            labels: int64 [B], or None for an unconditional network.
            draws: The batch's randomness; "timestep", "noise" and "label-dropout" are drawn.
            null_label: The label that means "no label"; None where the network knows none.
            step: Not used: the loss is the same in every step.

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

    def check(self, request: SampleRequest) -> None:
        """Refuses a request without a sampler, with more steps than timesteps, or with guidance and no null label.

        Raises:
            ConfigError: Names what does not fit.
        """
        self._table(request)
        if request.guidance != 1.0 and request.null_label is None:
            raise ConfigError(f"guidance needs a model that was trained with a null label, got {request.guidance:g} without")
        if request.draw_pixels:
            raise ConfigError("draw_pixels: the diffusion model's pixels are those of its last step; expected no such request")

    @torch.no_grad()
    def sample(
        self,
        network: Network,
        labels: Tensor | None,
        draws: Draws,
        request: SampleRequest,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Samples x_0, float32 [B, *request.shape], one for each index in draws.

        Args:
            network: The trained network.
            labels: int64 [B], or None for an unconditional network.
            draws: The samples' numbers. "generation start" is drawn for x_T, and "generation step" once a row of the sampler
                in the place of the epoch.
            request: Shape, sampler and guidance.
            on_step: Called after every row of the sampler.

        Raises:
            ConfigError: See `check`.
        """
        key = stream_key(draws.seed, "generation step")
        return sample(
            network,
            self._table(request),
            _laid_out(draws.normal("generation start", request.shape)),
            labels,
            guidance=request.guidance,
            null_label=request.null_label,
            noise=lambda row: _laid_out(normal(key, draws.samples, row, request.shape)),
            on_step=on_step,
        )

    @torch.no_grad()
    def drift(self, network: Network, x: Tensor, t: Tensor) -> Tensor:
        """Mean of p(x_{t-1} | x_t) minus x_t, shape of x: where one step of the reverse process leads from each place.

        Args:
            network: The trained network, without labels.
            x: [B, ...], x_t.
            t: int64 [B], 1..T.

        Ref: Sohl-Dickstein et al. 2015, arXiv 1503.03585, figure 1.
        """
        a, s = self.signal_and_noise(t, x)
        of_x_t, of_output = x0_coefficients(self.config.prediction, a, s)
        x0 = of_x_t * x + of_output * network(x, t - 1, None).to(x.dtype)
        return self.posterior_mean(x0, x, t) - x

    def _table(self, request: SampleRequest) -> SamplerTable:
        if request.sampler is None:
            raise ConfigError("the diffusion model is sampled by a reverse process, got a request without a sampler")
        if request.sampler not in self._tables:
            self._tables[request.sampler] = sampler_table(request.sampler, self.schedule, self.config.prediction)
        return self._tables[request.sampler]

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


def _laid_out(images: Tensor) -> Tensor:
    """Images in the layout that networks take on a CPU (see networks/layout.py); other shapes and devices as they are."""
    return images.to(memory_format=torch.channels_last) if images.dim() == 4 and images.device.type == "cpu" else images
