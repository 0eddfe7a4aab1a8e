"""Gaussians against torch.distributions, Monte Carlo, high-precision arithmetic and finite differences."""

import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.families.gaussians import (
    PIXEL_WIDTH,
    kl_divergence,
    kl_to_standard_normal,
    log_density,
    log_pixel_probability,
    reparameterise,
)

LEVELS = torch.linspace(-1.0, 1.0, 256, dtype=torch.float64)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@given(st.tuples(st.floats(-5, 5), st.floats(-3, 3), st.floats(-5, 5), st.floats(-3, 3)))
def test_kl_is_that_of_torch(numbers):
    mean_1, log_std_1, mean_2, log_std_2 = tensor(*numbers)
    p, q = torch.distributions.Normal(mean_1, log_std_1.exp()), torch.distributions.Normal(mean_2, log_std_2.exp())
    ours = kl_divergence(mean_1, log_std_1, mean_2, log_std_2)
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(p, q), rtol=1e-10, atol=1e-12)
    assert float(ours) >= 0.0


def test_kl_to_the_prior_is_the_special_case():
    mean, log_std = torch.randn(2, 100, dtype=torch.float64, generator=generator())
    zero = torch.zeros_like(mean)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_std), kl_divergence(mean, log_std, zero, zero))


def test_equal_gaussians_do_not_diverge():
    mean, log_std = torch.randn(2, 100, generator=generator())
    assert torch.equal(kl_divergence(mean, log_std, mean, log_std), torch.zeros(100))


def test_kl_is_the_mean_log_ratio_of_densities():
    mean_1, log_std_1, mean_2, log_std_2 = tensor(0.3, -0.5, -0.2, 0.1)
    count = 400_000
    z = reparameterise(mean_1, log_std_1, torch.randn(count, dtype=torch.float64, generator=generator()))
    ratio = log_density(z, mean_1, log_std_1) - log_density(z, mean_2, log_std_2)
    error = ratio.std() / math.sqrt(count)
    assert abs(ratio.mean() - kl_divergence(mean_1, log_std_1, mean_2, log_std_2)) < 5.0 * error
    assert error < 0.005


def test_reparameterised_draws_have_the_right_distribution_and_gradients():
    mean, log_std = tensor(0.7).requires_grad_(), tensor(-0.4).requires_grad_()
    noise = torch.randn(200_000, dtype=torch.float64, generator=generator())
    z = reparameterise(mean, log_std, noise).detach()
    assert z.mean().item() == pytest.approx(0.7, abs=5 * math.exp(-0.4) / math.sqrt(len(z)))
    assert z.std().item() == pytest.approx(math.exp(-0.4), rel=5 / math.sqrt(2 * len(z)))
    assert torch.autograd.gradcheck(reparameterise, (mean, log_std, noise[:5]))


def test_density_is_that_of_torch():
    x, mean, log_std = torch.randn(3, 100, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(log_density(x, mean, log_std), torch.distributions.Normal(mean, log_std.exp()).log_prob(x))


@given(st.floats(-3, 3), st.floats(-12, 4))
def test_pixel_probabilities_sum_to_one(mean, log_std):
    log_probabilities = log_pixel_probability(LEVELS, tensor(mean), tensor(log_std))
    assert float(torch.logsumexp(log_probabilities, 0)) == pytest.approx(0.0, abs=1e-9)
    assert float(log_probabilities.max()) <= 0.0


@pytest.mark.parametrize("mean", [-1.3, -1.0, 0.1, 0.99, 4.0])
@pytest.mark.parametrize("std", [1e-4, 0.002, 0.05, 1.0, 30.0])
@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
def test_pixel_probability_in_fifty_digits(level, std, mean):
    """Including tails where the mass is below 1e-300 and a floor would show."""
    ours = float(log_pixel_probability(LEVELS[level], tensor(mean), tensor(std).log()))
    x, half = float(LEVELS[level]), PIXEL_WIDTH / 2.0
    with mpmath.workdps(50):

        def tail(edge: float):
            return mpmath.erfc((edge - mpmath.mpf(mean)) / (mpmath.mpf(std) * mpmath.sqrt(2))) / 2

        with mpmath.workdps(60):
            above = mpmath.mpf(0) if level == 255 else tail(mpmath.mpf(x) + half)
            below = mpmath.mpf(1) if level == 0 else tail(mpmath.mpf(x) - half)
            # On the side where both tails are near one, their complements carry the digits.
            if level not in (0, 255) and x < mean:
                scale = mpmath.mpf(std) * mpmath.sqrt(2)
                mass = (mpmath.erfc((mean - x - half) / scale) - mpmath.erfc((mean - x + half) / scale)) / 2
            elif level == 0:
                mass = mpmath.erfc((mpmath.mpf(mean) - x - half) / (mpmath.mpf(std) * mpmath.sqrt(2))) / 2
            else:
                mass = below - above
            expected = float(mpmath.log(mass))
    assert ours == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_pixel_probability_has_the_right_gradients_everywhere():
    x = LEVELS[[0, 0, 3, 128, 254, 255, 255]]
    mean = tensor(-1.2, 0.9, 0.8, 0.01, 0.9, 0.3, 1.2).requires_grad_()
    log_std = tensor(-2.0, -3.0, -4.0, -1.0, -6.0, -2.0, 1.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, s: log_pixel_probability(x, m, s), (mean, log_std))


def test_float32_loses_nothing_that_matters():
    mean, log_std = torch.tensor([0.1, -3.0]), torch.tensor([-1.0, -6.0])
    ours = log_pixel_probability(LEVELS[[100, 200]].float(), mean, log_std)
    assert ours.dtype == torch.float32
    exact = log_pixel_probability(LEVELS[[100, 200]], mean.double(), log_std.double())
    torch.testing.assert_close(ours.double(), exact, rtol=1e-6, atol=0)
