"""The swiss roll: its points, a short training that finds it, and the drift that leads back to it."""

import math

import torch

from pipeline.evaluation import sliced_wasserstein
from pipeline.families import Diffusion, DiffusionConfig, Draws, SamplerConfig, SampleRequest
from pipeline.training import swiss_roll, train_on_points


def test_points_lie_on_the_roll_and_belong_to_their_numbers() -> None:
    numbers = torch.arange(4000)
    points = swiss_roll(numbers, seed=1)
    assert torch.equal(swiss_roll(numbers[7:9], seed=1), points[7:9])
    radius = points.norm(dim=1) * 7
    angle = torch.atan2(points[:, 1], points[:, 0])
    # On the curve the radius is the angle, up to whole turns; the scatter is 0.02, of a radius of up to 2.
    off = (radius - angle + math.pi) % (2 * math.pi) - math.pi
    assert float(off.abs().median()) < 0.15
    assert 0.8 < float(points.square().mean()) < 1.2


def test_a_short_training_comes_near_and_the_drift_leads_to_the_curve() -> None:
    config = DiffusionConfig(timesteps=50, bin_width=None)
    family, network = train_on_points(config, lambda n: swiss_roll(n, 0), steps=1000, batch=256, seed=0)
    numbers = torch.arange(1000)
    draws = Draws(seed=3, samples=numbers, epochs=torch.zeros_like(numbers))
    request = SampleRequest(shape=(2,), sampler=SamplerConfig(name="ddpm", steps=50, clip="none"))
    real, made = swiss_roll(numbers + 10**6, 0), family.sample(network, None, draws, request)
    noise = draws.normal("generation start", (2,))
    assert sliced_wasserstein(made, real) < 0.5 * sliced_wasserstein(noise, real)
    places = torch.tensor([[6.0, 0.0], [0.0, -6.0]])
    drift = family.drift(network, places, torch.tensor([25, 25]))
    assert bool(((drift * places).sum(1) < 0).all())  # towards the data from far outside


def test_drift_of_a_network_that_knows_the_data_is_the_posterior_mean() -> None:
    """All data at one point c: x_0 is c, whatever x_t is."""
    family, c = Diffusion(DiffusionConfig(timesteps=10, prediction="x0", bin_width=None)), torch.tensor([0.3, -0.7])
    x, t = torch.tensor([[1.0, 2.0], [0.5, -1.0]]), torch.tensor([10, 1])
    drift = family.drift(lambda x, t, labels: c.expand_as(x), x, t)
    assert torch.allclose(x + drift, family.posterior_mean(c.expand_as(x), x, t), atol=1e-6)
    assert torch.allclose((x + drift)[1], c, atol=1e-6)  # the last step ends at the data
