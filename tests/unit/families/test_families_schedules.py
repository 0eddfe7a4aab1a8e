"""Schedules: published values, diffusers' tables, and the question how many steps are enough."""

import math
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.families.schedules import (
    cosine_log_snr,
    from_beta,
    kl_to_prior_bits,
    linear_log_snr,
    make_schedule,
    smallest_sufficient_steps,
)

UNKNOWN: Any = "quadratic"
NAMES = ["linear", "cosine", "sigmoid", "log-snr"]


def test_linear_values():
    """beta from 1e-4 to 0.02, T = 1000 (Ho et al. 2020)."""
    schedule = make_schedule("linear", 1000)
    for t, value in {1: 0.9999, 10: 0.998105, 100: 0.897018, 500: 0.0785872, 1000: 4.03583e-5}.items():
        assert float(schedule.alpha_bar[t - 1]) == pytest.approx(value, rel=1e-6)
    assert float(kl_to_prior_bits(schedule)[-1]) == pytest.approx(9.705e-6, rel=1e-4)
    assert smallest_sufficient_steps(schedule, 1e-3) == 737
    assert smallest_sufficient_steps(schedule, 1e-4) == 878
    assert smallest_sufficient_steps(schedule, 1e-6) is None


def test_cosine_values():
    """s = 0.008, beta clipped at 0.999, T = 1000 (Nichol and Dhariwal 2021)."""
    schedule = make_schedule("cosine", 1000)
    for t, value in {1: 0.9999587, 100: 0.9720927, 500: 0.4938436, 999: 2.428767e-6}.items():
        assert float(schedule.alpha_bar[t - 1]) == pytest.approx(value, rel=2e-7)
    assert float(schedule.beta[-1]) == 0.999


@pytest.mark.parametrize(("name", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2"), ("sigmoid", "sigmoid")])
@pytest.mark.parametrize("timesteps", [10, 1000])
def test_diffusers_has_the_same_tables(name, theirs, timesteps):
    scheduler = DDPMScheduler(num_train_timesteps=timesteps, beta_schedule=theirs)
    # Theirs are float32: 1 - beta loses digits, and more in the product.
    torch.testing.assert_close(make_schedule(name, timesteps).beta, scheduler.betas.double(), rtol=2e-6, atol=2e-7)
    torch.testing.assert_close(make_schedule(name, timesteps).alpha_bar, scheduler.alphas_cumprod.double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", NAMES)
@given(timesteps=st.integers(2, 300))
def test_every_schedule_is_one(name, timesteps):
    schedule = make_schedule(name, timesteps)
    assert schedule.timesteps == timesteps
    assert all(table.dtype == torch.float64 and table.shape == (timesteps,) for table in (schedule.beta, schedule.alpha_bar))
    product = 1.0
    for t in range(timesteps):
        assert 0.0 < float(schedule.beta[t]) < 1.0
        product *= 1.0 - float(schedule.beta[t])
        assert float(schedule.alpha_bar[t]) == pytest.approx(product, rel=1e-12)
    assert bool((schedule.log_snr().diff() < 0.0).all())


def test_log_snr_is_that_of_the_tables():
    schedule = make_schedule("linear", 1000)
    expected = [math.log(value / (1.0 - value)) for value in schedule.alpha_bar.tolist()]
    torch.testing.assert_close(schedule.log_snr(), torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-12)


def test_continuous_forms_agree_with_the_discrete_ones():
    time = torch.arange(1, 1000, dtype=torch.float64) / 1000  # the last step of cosine is clipped
    torch.testing.assert_close(cosine_log_snr(time), make_schedule("cosine", 1000).log_snr()[:-1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(linear_log_snr(time), make_schedule("log-snr", 1000).log_snr()[:-1], rtol=1e-9, atol=1e-9)
    angle = (time + 0.008) / 1.008 * math.pi / 2.0
    alpha_bar = angle.cos() ** 2 / math.cos(0.008 / 1.008 * math.pi / 2.0) ** 2
    torch.testing.assert_close(torch.sigmoid(cosine_log_snr(time)), alpha_bar, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("second_moment", [0.1, 1.0 / 3.0, 1.0])
def test_kl_to_prior_is_the_divergence(second_moment):
    """Against torch.distributions, averaged over an x_0 of two values with the given second moment."""
    schedule = make_schedule("linear", 1000)
    size = math.sqrt(second_moment)
    q = torch.distributions.Normal(schedule.alpha_bar.sqrt() * size, (1.0 - schedule.alpha_bar).sqrt())
    prior = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
    expected = torch.distributions.kl_divergence(q, prior) / math.log(2.0)
    torch.testing.assert_close(kl_to_prior_bits(schedule, second_moment), expected, rtol=1e-9, atol=1e-14)


def test_short_linear_schedules_are_not_enough():
    assert smallest_sufficient_steps(make_schedule("linear", 100), 1e-3) is None
    assert smallest_sufficient_steps(make_schedule("cosine", 100), 1e-3) == 96


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_schedule(UNKNOWN, 10), "'quadratic', expected one of linear, cosine, sigmoid, log-snr"),
        (lambda: make_schedule("linear", 1), "timesteps=1"),
        (lambda: from_beta("mine", torch.tensor([0.1, 1.0], dtype=torch.float64)), "'mine': got beta from 0.1 to 1"),
    ],
)
def test_mistakes_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
