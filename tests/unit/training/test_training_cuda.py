"""Training on a CUDA device: the CPU's losses, bf16 that learns, and a run that goes on where it was saved."""

import pytest
import torch
from torch._dynamo.utils import counters
from training_problems import CPU, MODEL, digits, everything

from pipeline.models import LatentConfig, Model, ModelConfig
from pipeline.networks import CoderConfig
from pipeline.training import OptimConfig, TrainState
from pipeline.training.loop import train_step, train_steps

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

CUDA = torch.device("cuda")
LATENT = ModelConfig(image=MODEL.image, family=LatentConfig(latent_sizes=(8, 4)), network=CoderConfig(widths=(8,), hidden=8))
MODELS = pytest.mark.parametrize("config", [MODEL, LATENT], ids=lambda config: config.family_name)


def state_on(device: torch.device, config: ModelConfig = MODEL, *, precision: str = "fp32", lr: float = 1e-3) -> TrainState:
    optim = OptimConfig(learning_rate=lr, warmup_steps=0, precision=precision)  # pyright: ignore[reportArgumentType]
    return TrainState(Model(config), optim, device)


def losses(state: TrainState, steps: int, *, rows: int = 64) -> list[float]:
    """Losses of the next steps."""
    batches = (digits(rows, first=rows * step) for step in range(state.step, steps))
    found = list(train_steps(state, state.network, batches, steps=steps, seed=3))
    return [float(result.loss) for result in found]


@MODELS
def test_losses_are_those_of_the_cpu(config: ModelConfig) -> None:
    """Noise and times are drawn by sample, so they are the same numbers there; sums are not in the same order."""
    assert losses(state_on(CUDA, config), 6) == pytest.approx(losses(state_on(CPU, config), 6), rel=5e-3)


@MODELS
def test_the_precision_that_a_gpu_takes_by_itself_learns(config: ModelConfig) -> None:
    state = state_on(CUDA, config, precision="auto", lr=3e-3)
    found = losses(state, 150)
    assert sum(found[-10:]) < 0.8 * sum(found[:10])
    assert all(p.dtype == torch.float32 for p in state.network.parameters())
    full = losses(state_on(CUDA, config, lr=3e-3), 150)
    assert sum(found[-10:]) == pytest.approx(sum(full[-10:]), rel=0.1)
    assert found != full  # it is not full precision by another name


@MODELS
def test_a_run_goes_on_where_it_was_saved(config: ModelConfig) -> None:
    straight = state_on(CUDA, config)
    expected = losses(straight, 8)
    before = state_on(CUDA, config)
    first = losses(before, 4)
    saved = {name: tensor.cpu() for name, tensor in before.tensors().items()}
    averages = {length: {n: t.cpu() for n, t in average.items()} for length, average in before.averages.items()}
    after = state_on(CUDA, config)
    after.load(saved, averages, 4, "memory")
    assert first + losses(after, 8) == pytest.approx(expected, rel=1e-4)
    # Gradients are summed in no fixed order there, and where one is near 0 AdamW makes much of its sign: eight steps move a
    # weight by 8e-3, of which a tenth may differ.
    for name, tensor in everything(straight).items():
        torch.testing.assert_close(everything(after)[name], tensor, rtol=1e-2, atol=8e-4, msg=lambda m, n=name: f"{n}: {m}")


@MODELS
def test_a_compiled_network_learns_as_the_plain_one(config: ModelConfig) -> None:
    optim = OptimConfig(learning_rate=1e-3, warmup_steps=0, precision="fp32", compiled=True)
    torch._dynamo.reset()
    counters.clear()
    assert losses(TrainState(Model(config), optim, CUDA), 6) == pytest.approx(losses(state_on(CUDA, config), 6), rel=5e-3)
    assert counters["stats"]["unique_graphs"] > 0, "nothing was compiled"


def test_pinned_batches_give_the_same_step() -> None:
    one, two = state_on(CUDA), state_on(CUDA)
    for step in range(4):
        batch = digits(16, first=16 * step)
        pinned = batch.pinned()
        assert pinned.images.is_pinned()
        assert torch.equal(pinned.images, batch.images)
        plain = train_step(one, one.network, batch.on(CUDA), seed=1)
        assert float(train_step(two, two.network, pinned.on(CUDA), seed=1)) == pytest.approx(float(plain), rel=1e-4)
