"""Presets of real runs: planned as they are, and one real training step on their images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.models import Model, num_parameters
from pipeline.networks import UNetConfig
from pipeline.plans.presets import preset
from pipeline.training import Batch, TrainState
from pipeline.training.loop import train_step


@pytest.mark.parametrize(
    ("name", "millions", "batch", "shape"),
    [("cifar10-like", 35.5, 128, (3, 32, 32)), ("imagenet64-like", 265.7, 2048, (3, 64, 64))],
)
def test_sizes_are_those_of_published_runs(name: str, millions: float, batch: int, shape: tuple[int, ...]) -> None:
    config = preset(name)
    assert num_parameters(config.model) / 1e6 == pytest.approx(millions, abs=0.1)
    assert (config.stream.batch_size, config.model.image.shape) == (batch, shape)


@pytest.mark.parametrize(("name", "shrink"), [("cifar10-like", 1), ("imagenet64-like", 4)])
def test_one_step_moves_every_weight(name: str, shrink: int) -> None:
    config = preset(name)
    # The large one at a quarter of its channels, to keep the step within seconds on a CPU; levels, attention, blocks stay.
    network = config.model.network
    assert isinstance(network, UNetConfig)
    if shrink > 1:
        network = replace(network, widths=tuple(w // shrink for w in network.widths), norm_groups=16, head_dim=16)
    state = TrainState(Model(replace(config.model, network=network)), config.optim, torch.device("cpu"))
    before = {n: p.detach().clone() for n, p in state.network.named_parameters()}
    size, draw = config.model.image.size, np.random.default_rng(1)
    batch = Batch(
        images=torch.from_numpy(draw.integers(0, 256, (2, size, size, 3), dtype=np.uint8)),
        labels=torch.tensor([1, 9]),
        samples=torch.tensor([0, 10**9]),
        epochs=torch.tensor([0, 3]),
    )
    loss = train_step(state, state.network, batch, seed=1)
    assert torch.isfinite(loss)
    still = [n for n, p in state.network.named_parameters() if torch.equal(p, before[n])]
    # Keys of attention have no gradient through their bias: softmax does not see a shift of all scores.
    assert [n for n in still if "to_k.bias" not in n] == []
