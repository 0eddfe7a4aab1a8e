"""The forward process: single steps against one jump, the posterior against Bayes' rule."""

import math

import pytest
import torch

from pipeline.families.forward import ForwardProcess
from pipeline.families.schedules import make_schedule

T = 30


@pytest.fixture(params=["linear", "cosine", "sigmoid", "log-snr"])
def process(request) -> ForwardProcess:
    return ForwardProcess(make_schedule(request.param, T))


def times(t: int, count: int) -> torch.Tensor:
    return torch.full((count,), t)


def test_steps_and_jump_agree_exactly_in_mean_and_variance(process):
    """Both are linear in (x_0, noise): the mean is the image of x_0, the variance the sum of squared noise factors."""
    image, none = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    mean, variance = image, 0.0
    for t in range(1, T + 1):
        mean = process.q_step(mean, times(t, 1), none)
        kept = float(process.q_step(image, times(t, 1), none))
        added = float(process.q_step(none, times(t, 1), image))
        variance = kept**2 * variance + added**2
        assert float(mean) == pytest.approx(float(process.q_sample(image, times(t, 1), none)), rel=1e-12)
        assert variance == pytest.approx(float(process.q_sample(none, times(t, 1), image)) ** 2, rel=1e-12)


def test_steps_and_jump_agree_in_mean_and_covariance_of_samples(process):
    """200,000 correlated points of the plane, walked to t in single steps, against the closed form."""
    count, generator = 200_000, torch.Generator().manual_seed(1)
    mixing = torch.tensor([[0.6, 0.0], [0.4, 0.2]], dtype=torch.float64)
    center = torch.tensor([0.5, -0.3], dtype=torch.float64)
    x0 = center + torch.randn(count, 2, dtype=torch.float64, generator=generator) @ mixing.T
    x = x0
    for t in range(1, 11):
        x = process.q_step(x, times(t, count), torch.randn(count, 2, dtype=torch.float64, generator=generator))
    jump = process.q_sample(x0, times(10, count), torch.randn(count, 2, dtype=torch.float64, generator=generator))
    alpha_bar = float(process.schedule.alpha_bar[9])
    covariance = alpha_bar * mixing @ mixing.T + (1.0 - alpha_bar) * torch.eye(2, dtype=torch.float64)
    for sample in (x, jump):
        error = 5.0 * covariance.diagonal().max() / math.sqrt(count)
        assert (sample.mean(0) - math.sqrt(alpha_bar) * center).abs().max() < 5.0 * covariance.max().sqrt() / math.sqrt(count)
        assert (torch.cov(sample.T) - covariance).abs().max() < math.sqrt(2.0) * error


def test_posterior_is_bayes_rule(process):
    """Conditioning the joint Gaussian of (x_{t-1}, x_t) given x_0 by the textbook formula."""
    x0 = torch.tensor([[0.4, -0.9]], dtype=torch.float64)
    x_t = torch.tensor([[1.1, 0.2]], dtype=torch.float64)
    for t in range(1, T + 1):
        before = 1.0 if t == 1 else float(process.schedule.alpha_bar[t - 2])
        alpha = float(process.schedule.alpha[t - 1])
        mean_before, variance_before = math.sqrt(before) * x0, 1.0 - before
        mean_now, variance_now = math.sqrt(alpha) * mean_before, alpha * variance_before + 1.0 - alpha
        gain = math.sqrt(alpha) * variance_before / variance_now
        mean = mean_before + gain * (x_t - mean_now)
        variance = variance_before - gain * math.sqrt(alpha) * variance_before
        torch.testing.assert_close(process.posterior_mean(x0, x_t, times(t, 1)), mean, rtol=1e-9, atol=1e-12)
        assert float(process.posterior_variance(times(t, 1))) == pytest.approx(variance, rel=1e-9, abs=1e-14)


def test_time_zero_is_the_image(process):
    x0 = torch.rand(3, 1, 2, 2)
    assert torch.equal(process.q_sample(x0, times(0, 3), torch.ones(3, 1, 2, 2)), x0)


def test_each_sample_has_its_own_time(process):
    x0, noise = torch.rand(4, 1, 2, 2), torch.randn(4, 1, 2, 2)
    t = torch.tensor([0, 1, 13, T])
    together = process.q_sample(x0, t, noise)
    for k in range(4):
        assert torch.equal(together[k : k + 1], process.q_sample(x0[k : k + 1], t[k : k + 1], noise[k : k + 1]))
