"""Sliced Wasserstein distance against values known in closed form."""

import math

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.evaluation import sliced_wasserstein
from pipeline.families import normal, stream_key


def cloud(count: int, seed: int) -> torch.Tensor:
    return normal(stream_key(seed, "test"), torch.arange(count), 0, (2,))


def test_a_shift_has_its_length_over_the_root_of_the_dimension() -> None:
    """Projections are shifted by the cosine of the angle, whose mean square in D dimensions is 1/D."""
    a = cloud(100, 1)
    assert sliced_wasserstein(a, a + torch.tensor([3.0, 4.0]), directions=20_000) == pytest.approx(5 / math.sqrt(2), rel=0.02)


def test_the_order_of_points_does_not_matter() -> None:
    a = cloud(100, 1)
    assert sliced_wasserstein(a, a.flip(0)) == 0.0


def test_gaussians_differ_by_their_deviations() -> None:
    """W2 of N(0, 1) and N(0, s^2) on a line is |s - 1|, in every direction."""
    assert sliced_wasserstein(cloud(20_000, 1), 3.0 * cloud(20_000, 2)) == pytest.approx(2.0, rel=0.02)


def test_clouds_of_different_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(5, 2\) and \(4, 2\)"):
        sliced_wasserstein(cloud(5, 1), cloud(4, 1))
