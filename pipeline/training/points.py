"""Training a diffusion model on a cloud of points: the smallest test of the whole method."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.families import Diffusion, DiffusionConfig, Draws, normal, stream_key, uniform
from pipeline.networks.averaging import decay_at
from pipeline.networks.dense import PointNetwork

EMA_LENGTH = 0.08


def swiss_roll(numbers: Tensor, seed: int, scatter: float = 0.02) -> Tensor:
    """Points of the 2-D swiss roll, float32 [B, 2] of mean square near 1: point i depends on the seed and i alone.

    Args:
        numbers: int64 [B].
        seed: Seed of the cloud.
        scatter: Standard deviation of the points about the curve.
    """
    turn = uniform(stream_key(seed, "roll/turn"), numbers, 0, ())
    angle = 1.5 * math.pi * (1.0 + 2.0 * turn)
    curve = torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1) / 7.0
    return curve + scatter * normal(stream_key(seed, "roll/scatter"), numbers, 0, (2,))


def train_on_points(
    config: DiffusionConfig,
    cloud: Callable[[Tensor], Tensor],
    *,
    steps: int,
    batch: int,
    seed: int,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[Diffusion, PointNetwork]:
    """Returns the family and a network, trained with AdamW on a falling learning rate, its weights averaged.

    Args:
        config: What is learned; bin_width None, for points have no levels.
        cloud: Points float [B, 2] by number, int64 [B]; new numbers are new points.
        steps: Optimiser steps.
        batch: Points a step.
        seed: Seed of weights and noise.
        on_step: Called with (steps done, loss) after each step.
    """
    family = Diffusion(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PointNetwork(2, config.timesteps)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        numbers = torch.arange(step * batch, (step + 1) * batch)
        draws = Draws(seed=seed, samples=numbers, epochs=torch.zeros_like(numbers))
        loss = family.loss(network, cloud(numbers), None, draws, None).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for name, value in network.state_dict().items():
                average[name].lerp_(value, 1.0 - decay_at(EMA_LENGTH, step + 1))
        on_step(step + 1, float(loss.detach()))
    network.load_state_dict(average)
    return family, network.eval()
