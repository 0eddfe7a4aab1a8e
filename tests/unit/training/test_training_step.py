"""One optimiser step: whose gradient it takes, how far it moves, and what becomes of the average."""

import copy
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from training_problems import CPU, MODEL, digits, everything, new_state, taken

from pipeline.models import LatentConfig, Model, ModelConfig
from pipeline.networks import CoderConfig
from pipeline.networks.averaging import exponent
from pipeline.training import Batch, OptimConfig, TrainState
from pipeline.training.loop import train_step


def gradients(state: TrainState, batch: Batch, seed: int = 5) -> list[Tensor]:
    """Gradient of the mean loss of these rows, by parameter."""
    state.network.zero_grad()
    state.model.loss(state.network, batch.pixels(), batch.labels, batch.draws(seed)).mean().backward()
    return [cast(Tensor, p.grad).clone() for p in state.network.parameters()]


@pytest.mark.parametrize("ranks", [2, 4])
def test_gradient_of_a_batch_is_the_mean_of_the_gradients_of_its_ranks(ranks: int) -> None:
    state, batch = new_state(), digits(8, epoch=3)
    whole = gradients(state, batch)
    share = 8 // ranks
    parts = [gradients(state, taken(batch, slice(r * share, (r + 1) * share))) for r in range(ranks)]
    for expected, *got in zip(whole, *parts, strict=True):
        assert torch.allclose(torch.stack(got).mean(0), expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(8)))
def test_loss_belongs_to_the_samples_and_not_to_their_places(order: list[int]) -> None:
    state, batch = new_state(), digits(8)
    with torch.no_grad():
        straight = state.model.loss(state.network, batch.pixels(), batch.labels, batch.draws(5))
        moved = taken(batch, torch.tensor(order))
        shuffled = state.model.loss(state.network, moved.pixels(), moved.labels, moved.draws(5))
    assert torch.allclose(shuffled.total, straight.total[order], rtol=1e-4)
    assert float(shuffled.mean()) == pytest.approx(float(straight.mean()), rel=1e-4)


def test_another_seed_epoch_or_sample_number_gives_other_noise() -> None:
    state, batch = new_state(), digits(8)
    losses = set()
    for seed, epoch, first in [(5, 0, 0), (6, 0, 0), (5, 1, 0), (5, 0, 8)]:
        numbers = Batch(images=batch.images, labels=batch.labels, samples=batch.samples + first, epochs=batch.epochs + epoch)
        with torch.no_grad():
            losses.add(float(state.model.loss(state.network, numbers.pixels(), numbers.labels, numbers.draws(seed)).mean()))
    assert len(losses) == 4


def test_a_warm_up_goes_by_the_number_of_the_step() -> None:
    """A run that continues at a step weighs the latent layers as one that came there by itself."""
    family = LatentConfig(latent_sizes=(4, 2), kl_warmup_steps=3)
    config = ModelConfig(image=MODEL.image, family=family, network=CoderConfig(widths=(8,), hidden=8))
    batch, losses = digits(8), []
    for step in range(4):
        state = TrainState(Model(config), OptimConfig(), CPU)
        state.step = step
        with torch.no_grad():
            loss = state.model.loss(state.network, batch.pixels(), batch.labels, batch.draws(5), step)
        assert loss.is_bound == (step >= 2)
        losses.append(float(train_step(state, state.network, batch, seed=5)))
        assert losses[-1] == pytest.approx(float(loss.mean()), rel=1e-6)
    assert losses[0] < losses[1] < losses[2] == losses[3]


def test_a_step_is_that_of_adamw_on_clipped_gradients() -> None:
    """The same step written out with torch's own pieces, one after the other."""
    optim = OptimConfig(learning_rate=1e-2, warmup_steps=4, weight_decay=0.1, betas=(0.8, 0.95), grad_clip_norm=0.1)
    state = new_state(optim)
    network = copy.deepcopy(state.network)
    theirs = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1, betas=(0.8, 0.95), fused=False, foreach=False)
    for step in range(3):
        batch = digits(8, first=8 * step)
        theirs.param_groups[0]["lr"] = 1e-2 * (step + 1) / 4
        theirs.zero_grad()
        state.model.loss(network, batch.pixels(), batch.labels, batch.draws(1)).mean().backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        assert norm > 0.1
        theirs.step()
        train_step(state, state.network, batch, seed=1)
    for expected, got in zip(network.parameters(), state.network.parameters(), strict=True):
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bound", [0.01, 1e9, 0.0])
def test_clipping_bounds_the_norm_of_the_gradient(bound: float) -> None:
    state, batch = new_state(OptimConfig(warmup_steps=0, grad_clip_norm=bound)), digits(8)
    free = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients(state, batch, seed=1)]))
    train_step(state, state.network, batch, seed=1)
    taken_norm = torch.linalg.vector_norm(torch.cat([cast(Tensor, p.grad).flatten() for p in state.network.parameters()]))
    expected = min(float(free), bound) if bound else float(free)
    assert float(taken_norm) == pytest.approx(expected, rel=1e-4)


def test_the_first_step_of_the_warm_up_moves_the_weights_by_its_learning_rate() -> None:
    """AdamW's first step has the size of the learning rate, whatever the gradient is."""
    state = new_state(OptimConfig(learning_rate=1e-2, warmup_steps=100, grad_clip_norm=0.0))
    before = [p.detach().clone() for p in state.network.parameters()]
    train_step(state, state.network, digits(8), seed=1)
    moved = max(float((p.detach() - b).abs().max()) for p, b in zip(state.network.parameters(), before, strict=True))
    assert moved == pytest.approx(1e-4, rel=1e-3)


def test_every_average_follows_its_closed_form() -> None:
    """After n steps the weights of step k count by (k/n)^(gamma+1) - ((k-1)/n)^(gamma+1), and the initial ones not at all."""
    state = new_state(OptimConfig(learning_rate=1e-2, warmup_steps=0, ema_lengths=(0.2, 0.05)))
    name, seen = "inner.conv_in.weight", []
    for step in range(6):
        train_step(state, state.network, digits(8, first=8 * step), seed=1)
        seen.append(state.network.state_dict()[name].clone())
    for length, average in state.averages.items():
        edges = [(k / 6) ** (exponent(length) + 1) for k in range(7)]
        shares = torch.tensor(edges).diff().float().view(6, 1, 1, 1, 1)
        expected = (shares * torch.stack(seen)).sum(0)
        assert torch.allclose(average[name], expected, atol=1e-7)
    assert state.ema is state.averages[0.2]
    assert not torch.allclose(state.averages[0.2][name], state.averages[0.05][name], atol=1e-5)


def test_average_of_equal_weights_is_these_weights() -> None:
    state = new_state()
    for _ in range(3):
        state.step += 1
        state.update_ema()
    assert all(torch.allclose(state.ema[name], value) for name, value in state.network.state_dict().items())


def _seen_dtypes(optim: OptimConfig) -> set[torch.dtype]:
    """Result types of the network's convolutions during one step."""
    state, seen = new_state(optim), set[torch.dtype]()

    def note(module: nn.Module, given: Any, result: Tensor) -> None:
        seen.add(result.dtype)

    for module in state.network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    loss = train_step(state, state.network, digits(4), seed=1)
    assert loss.dtype == torch.float32
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in state.network.parameters())
    return seen


@pytest.mark.parametrize(
    ("precision", "expected"), [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_decides_the_arithmetic_of_the_forward_pass(precision: Any, expected: torch.dtype) -> None:
    assert _seen_dtypes(OptimConfig(warmup_steps=0, precision=precision)) == {expected}


def test_state_round_trip_goes_through_named_tensors() -> None:
    state = new_state()
    for step in range(2):
        train_step(state, state.network, digits(8, first=8 * step), seed=1)
    other = new_state(seed=9)
    averages = {length: {name: value.clone() for name, value in kept.items()} for length, kept in state.averages.items()}
    other.load({name: value.clone() for name, value in state.tensors().items()}, averages, state.step, "memory")
    for each in (state, other):
        train_step(each, each.network, digits(8, first=16), seed=1)
    expected, got = everything(state), everything(other)
    assert expected.keys() == got.keys()
    assert all(torch.equal(got[name], value) for name, value in expected.items())
    assert other.device == CPU
