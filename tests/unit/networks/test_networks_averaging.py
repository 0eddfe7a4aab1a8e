"""Weight averages: the profile's shape by numerical integration, the update's closed form, and reconstruction."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.networks.averaging import LONGEST, Profile, combined, decay_at, exponent, inner_product, reconstruction


def shares(length: float, steps: int, total: int) -> NDArray[np.float64]:
    """Share of the weights of each step 1..total in the average after `steps` steps, by running the updates."""
    average = np.zeros(total + 1)
    average[0] = 1.0  # the initial weights
    for step in range(1, steps + 1):
        decay = decay_at(length, step)
        average *= decay
        average[step] += 1.0 - decay
    return average


@pytest.mark.parametrize(("length", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_exponents_are_the_published_ones(length: float, gamma: float) -> None:
    """The two lengths that the paper's training keeps (arXiv 2312.02696, section 3.1)."""
    assert exponent(length) == pytest.approx(gamma, abs=0.005)


@given(st.floats(0.005, LONGEST))
def test_length_is_the_standard_deviation_of_the_profile(length: float) -> None:
    gamma = exponent(length)
    tau = (np.arange(200_000) + 0.5) / 200_000
    density = (gamma + 1) * tau**gamma / 200_000
    mean = (density * tau).sum()
    assert math.sqrt((density * (tau - mean) ** 2).sum()) == pytest.approx(length, rel=1e-3)


@pytest.mark.parametrize("length", [0.03, 0.1, 0.25])
def test_updates_give_each_step_the_integral_of_the_profile_over_it(length: float) -> None:
    gamma, steps = exponent(length), 60
    edges = (np.arange(steps + 1) / steps) ** (gamma + 1)
    got = shares(length, steps, steps)
    assert got[0] == 0.0  # the initial weights are forgotten at the first step
    assert np.allclose(got[1:], np.diff(edges), atol=1e-12)


@pytest.mark.parametrize(("t_a", "t_b"), [(3.0, 7.0), (7.0, 3.0), (5.0, 5.0)])
def test_inner_product_is_the_integral(t_a: float, t_b: float) -> None:
    a, b = Profile(t_a, 4.2), Profile(t_b, 9.5)
    tau = (np.arange(400_000) + 0.5) / 400_000 * min(t_a, t_b)
    p_a, p_b = ((p.gamma + 1) / p.step ** (p.gamma + 1) * tau**p.gamma for p in (a, b))
    assert inner_product(a, b) == pytest.approx((p_a * p_b).mean() * min(t_a, t_b), rel=1e-6)


@pytest.mark.parametrize("length", [0.05, 0.07, 0.1, 0.15, 0.2])
def test_any_length_is_reconstructed_from_snapshots_of_two(length: float) -> None:
    """Against the average itself, kept step by step."""
    total, every = 512, 32
    at = [(steps, kept) for steps in range(every, total + 1, every) for kept in (0.05, 0.1)]
    factors, missed = reconstruction([Profile(s, exponent(kept)) for s, kept in at], Profile(total, exponent(length)))
    got = sum(f * shares(kept, s, total) for f, (s, kept) in zip(factors, at, strict=True))
    wanted = shares(length, total, total)
    distance = float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
    assert distance < (1e-6 if length in (0.05, 0.1) else 0.05)
    assert abs(distance - missed) < 0.03
    assert factors.sum() == pytest.approx(1.0, abs=0.01)


def test_a_single_snapshot_cannot_stand_for_another_length() -> None:
    _, missed = reconstruction([Profile(100, exponent(0.05))], Profile(100, exponent(0.2)))
    assert missed > 0.3


def test_combined_is_the_weighted_sum_and_counts_are_the_last() -> None:
    averages = [
        {"w": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)},
        {"w": torch.tensor([10.0, 20.0]), "count": torch.tensor(4)},
    ]
    got = combined(averages, [-0.5, 1.5])
    assert torch.equal(got["w"], torch.tensor([14.5, 29.0]))
    assert got["count"] == 4


@pytest.mark.parametrize("length", [0.0, -0.1, 0.3, math.nan])
def test_an_impossible_length_is_refused(length: float) -> None:
    with pytest.raises(ConfigError, match="length of a weight average"):
        exponent(length)
