"""The bound, on Gaussian data: there the best network is known, and so is the exact likelihood."""

import math

import pytest
import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.diffusion import Diffusion, DiffusionConfig
from pipeline.families.gaussians import PIXEL_WIDTH, log_density, log_pixel_probability
from pipeline.families.noise import Draws
from pipeline.families.predictions import Prediction, eps_from_x0, prediction_target
from pipeline.families.schedules import from_log_snr, make_schedule

MEAN, STD = 0.2, 0.4
LOG_STD = torch.tensor(math.log(STD), dtype=torch.float64)


def best_network(diffusion: Diffusion, std: float = STD):
    """E[x_0 | x_t] of x_0 ~ N(MEAN, std^2), in the diffusion's parameterization."""

    def network(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        a, s = diffusion.signal_and_noise(t + 1, x_t)
        x0_hat = MEAN + a * std**2 / (a**2 * std**2 + s**2) * (x_t - a * MEAN)
        return prediction_target(diffusion.config.prediction, a, s, x0_hat, eps_from_x0(a, s, x_t, x0_hat))

    return network


def data(count: int, std: float = STD) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return MEAN + std * torch.randn(count, 8, dtype=torch.float64, generator=generator)


def draws(count: int, epoch: int = 0) -> Draws:
    return Draws(seed=1, samples=torch.arange(count), epochs=torch.full((count,), epoch))


def exact_bound(diffusion: Diffusion) -> dict[str, float]:
    """Each term's expectation over data and noise, by hand, nats per dimension: the squared error is the posterior variance."""
    alpha_bar = [1.0, *diffusion.schedule.alpha_bar.tolist()]
    error = [STD**2 * (1.0 - level) / (level * STD**2 + 1.0 - level) for level in alpha_bar]
    snr = [math.inf, *(level / (1.0 - level) for level in alpha_bar[1:])]
    beta_1, last = float(diffusion.schedule.beta[0]), alpha_bar[-1]
    return {
        "prior": 0.5 * (last * (MEAN**2 + STD**2 - 1.0) - math.log(1.0 - last)),
        "diffusion": sum(0.5 * (snr[t - 1] - snr[t]) * error[t] for t in range(2, len(alpha_bar))),
        "decoder": 0.5 * math.log(2.0 * math.pi * beta_1) + error[1] / (2.0 * beta_1),
    }


@pytest.mark.parametrize("prediction", ["v", "eps", "x0"])
def test_each_term_has_its_expected_value(prediction: Prediction):
    """Five standard errors around the value computed by hand."""
    config = DiffusionConfig(schedule="linear", timesteps=30, prediction=prediction, bin_width=None)
    diffusion = Diffusion(config)
    count = 4000
    bound = diffusion.bound(best_network(diffusion), data(count), None, draws(count))
    for name, expected in exact_bound(diffusion).items():
        values = bound.terms[name]
        assert abs(float(values.mean()) - expected) < 5.0 * float(values.std()) / math.sqrt(count), name
    torch.testing.assert_close(bound.total, sum(bound.terms.values(), start=torch.zeros(count, dtype=torch.float64)))
    torch.testing.assert_close(bound.bits_per_dim(), bound.total / math.log(2.0))


def test_the_bound_approaches_the_likelihood_with_more_steps():
    """From below, and with a gap that falls like 1/T: the exact log-likelihood of the same images is the oracle."""
    count, gaps = 1000, []
    x0 = data(count)
    log_likelihood = log_density(x0, torch.tensor(MEAN, dtype=torch.float64), LOG_STD).mean(1)
    for timesteps in (50, 200, 800):
        diffusion = Diffusion(DiffusionConfig(schedule="log-snr", timesteps=timesteps, bin_width=None))
        expected = sum(exact_bound(diffusion).values()) - (0.5 * math.log(2.0 * math.pi * STD**2) + 0.5)
        gap = diffusion.bound(best_network(diffusion), x0, None, draws(count)).total + log_likelihood
        error = float(gap.std()) / math.sqrt(count)
        assert abs(float(gap.mean()) - expected) < 5.0 * error
        gaps.append(expected)
    assert error < 0.01
    assert gaps[0] > gaps[1] > gaps[2] > 0.0
    assert gaps[2] < 0.09
    assert 3.5 < gaps[1] / gaps[2] < 4.5


def test_the_bound_of_pixels_approaches_their_likelihood():
    """8-bit levels of Gaussian data: the probability of a level under the Gaussian is the oracle.

    The first step's noise, 0.05, is some levels wide, for the best network of Gaussian data knows nothing of levels.
    """
    count, timesteps = 3000, 400
    x0 = ((data(count, std=0.2).clamp(-1.0, 1.0) + 1.0) / PIXEL_WIDTH).round() * PIXEL_WIDTH - 1.0
    mean, log_std = torch.tensor([MEAN, math.log(0.2)], dtype=torch.float64)
    log_likelihood = log_pixel_probability(x0, mean, log_std).mean(1)
    schedule = from_log_snr("coarse", lambda time: 6.0 - 16.0 * time, timesteps)
    diffusion = Diffusion(DiffusionConfig(timesteps=timesteps), schedule)
    bound = diffusion.bound(best_network(diffusion, std=0.2), x0, None, draws(count), timesteps_per_call=4)
    gap = bound.total + log_likelihood
    error = float(gap.std()) / math.sqrt(count)
    assert error < 0.005
    assert -5.0 * error < float(gap.mean()) < 0.02 + 5.0 * error
    # The bound in bits is far from that of the density, which has other units.
    assert float(bound.bits_per_dim().mean()) == pytest.approx(math.log2(0.2 / PIXEL_WIDTH) + 2.047, abs=0.06)


def test_the_view_of_pixels_is_clamped_to_their_range():
    """A network that sees 3 where the pixel is 1 is as good as one that sees 1; for continuous data it is not."""
    x0 = torch.ones(2, 3, dtype=torch.float64)
    for bin_width in (PIXEL_WIDTH, None):
        diffusion = Diffusion(DiffusionConfig(timesteps=5, prediction="x0", bin_width=bin_width))
        bound = diffusion.bound(lambda x, t, labels: torch.full_like(x, 3.0), x0, None, draws(2))
        assert bool((bound.terms["diffusion"] == 0.0).all()) == (bin_width is not None)


def test_a_schedule_of_another_length_is_refused():
    with pytest.raises(ConfigError, match=r"'linear' of 10 steps, expected .*timesteps=20"):
        Diffusion(DiffusionConfig(timesteps=20), make_schedule("linear", 10))


@pytest.mark.parametrize("bin_width", [None, PIXEL_WIDTH])
def test_chunks_do_not_change_the_bound(bin_width):
    diffusion = Diffusion(DiffusionConfig(timesteps=10, bin_width=bin_width))
    network, x0 = best_network(diffusion), data(6)
    one = diffusion.bound(network, x0, None, draws(6))
    for timesteps_per_call in (2, 4, 9, 50):
        more = diffusion.bound(network, x0, None, draws(6), timesteps_per_call=timesteps_per_call)
        torch.testing.assert_close(more.total, one.total, rtol=1e-12, atol=1e-12)


def test_the_bound_of_a_sample_is_its_own():
    diffusion = Diffusion(DiffusionConfig(timesteps=10))
    network, x0, labels = best_network(diffusion), data(8).float(), torch.arange(8)
    seen = []

    def watching(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        seen.append(labels)
        return network(x_t, t, labels)

    whole = diffusion.bound(watching, x0, labels, draws(8), timesteps_per_call=2).total
    assert torch.equal(seen[0], torch.arange(8).repeat(2))
    tail = Draws(seed=1, samples=torch.arange(4, 8), epochs=torch.zeros(4, dtype=torch.int64))
    assert torch.equal(diffusion.bound(network, x0[4:], labels[4:], tail, timesteps_per_call=2).total, whole[4:])


@pytest.mark.parametrize("bin_width", [None, PIXEL_WIDTH])
def test_the_vlb_loss_estimates_the_bound_without_bias(bin_width):
    """One random timestep a draw, averaged over draws, against all timesteps."""
    config = DiffusionConfig(schedule="log-snr", timesteps=6, weighting="vlb", bin_width=bin_width)
    diffusion = Diffusion(config)
    # Within [-1, 1], because the bound of pixels clamps the view of x_0 and the loss does not.
    x0 = 0.1 * (data(1) - MEAN).repeat(20_000, 1)
    network = best_network(diffusion)
    everything = diffusion.bound(network, x0, None, draws(len(x0)))
    estimate = diffusion.loss(network, x0, None, draws(len(x0), epoch=1), None)
    for name, values in estimate.terms.items():
        error = 5.0 * math.hypot(float(values.std()), float(everything.terms[name].std())) / math.sqrt(len(x0))
        assert abs(float(values.mean() - everything.terms[name].mean())) <= error, name
    assert estimate.is_bound
    assert float(estimate.bits_per_dim().mean()) == pytest.approx(float(estimate.mean()) / math.log(2.0))


def test_no_timesteps_at_once_is_refused():
    diffusion = Diffusion(DiffusionConfig(timesteps=10))
    with pytest.raises(ConfigError, match="timesteps_per_call=0"):
        diffusion.bound(best_network(diffusion), data(2), None, draws(2), timesteps_per_call=0)
