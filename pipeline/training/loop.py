"""The training loop: batches in, one optimiser step each, results out."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.networks.compiling import compiler_trouble
from pipeline.training.batch import Batch
from pipeline.training.compiled_check import check_gradients
from pipeline.training.state import TrainState


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one step did on one rank."""

    step: int
    """Steps done, this one included."""
    images: int
    """Images this rank trained on."""
    loss: Tensor
    """Mean loss of this rank's rows, a scalar left on the device."""
    wait_s: float
    """Seconds spent waiting for the batch."""
    step_s: float
    """Seconds spent on the step itself, as the host saw it."""


def train_step(state: TrainState, network: nn.Module, batch: Batch, seed: int) -> Tensor:
    """Takes one optimiser step and returns the mean loss of the rows, a scalar on the device.

    Args:
        state: Changed in place: weights, moments, average and step.
        network: The state's network, or its wrapper that averages gradients over ranks.
        batch: This rank's rows, on the state's device.
        seed: The run's seed; with the rows' epochs and numbers it decides all randomness of the step.

    Raises:
        ConfigError: The network is to be compiled, and that failed or has other gradients.
    """
    optim = state.optim
    for group in state.optimizer.param_groups:
        group["lr"] = optim.learning_rate_at(state.step)
    bf16 = optim.precision == "bf16" or (optim.precision == "auto" and state.device.type == "cuda")

    def loss_of(network: nn.Module) -> Tensor:
        with torch.autocast(state.device.type, torch.bfloat16, enabled=bf16):
            return state.model.loss(network, batch.pixels(), batch.labels, batch.draws(seed), state.step).mean()

    def plain_loss() -> Tensor:
        with torch.compiler.set_stance("force_eager"):
            return loss_of(state.network)

    try:
        if optim.compiled and not state.gradients_checked:
            check_gradients(list(state.network.parameters()), lambda: loss_of(state.network), plain_loss)
            state.gradients_checked = True
        loss = loss_of(network)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
    except Exception as error:
        trouble = compiler_trouble(error)
        if trouble is None:
            raise
        raise trouble from error
    if optim.grad_clip_norm:
        torch.nn.utils.clip_grad_norm_(network.parameters(), optim.grad_clip_norm)
    state.optimizer.step()
    state.step += 1
    state.update_ema()
    return loss.detach()


def train_steps(
    state: TrainState,
    network: nn.Module,
    batches: Iterator[Batch],
    *,
    steps: int,
    seed: int,
    may_start: Callable[[int], bool] = lambda step: True,
) -> Iterator[StepResult]:
    """Yields the result of each step until `steps` are done or the run is asked to stop.

    Args:
        state: Where training stands; continues from `state.step`.
        network: See `train_step`.
        batches: This rank's batches from step `state.step` on, on any device.
        steps: Steps of the whole run.
        seed: The run's seed.
        may_start: Asked before each step with its number; False ends the loop. All ranks must get the same answer.
    """
    network.train()
    while state.step < steps and may_start(state.step):
        begin = time.perf_counter()
        batch = next(batches).on(state.device)
        got = time.perf_counter()
        loss = train_step(state, network, batch, seed)
        done = time.perf_counter()
        yield StepResult(step=state.step, images=len(batch.labels), loss=loss, wait_s=got - begin, step_s=done - got)
