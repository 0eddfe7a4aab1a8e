"""Our samplers against diffusers' schedulers, step by step, in float64, on a fixed nonlinear network."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers import scheduling_ddpm
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler
from torch import Tensor

from pipeline.families.sampler_tables import SamplerConfig, sampler_table
from pipeline.families.samplers import sample
from pipeline.families.schedules import Schedule, make_schedule

# diffusers hands tensors to numpy in an older way than numpy 2 wants.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

T = 200
SHAPE = (3, 2, 4, 4)
NAMES: dict[str, Any] = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
CLIPS: dict[str, Any] = {
    "none": {"clip_sample": False},
    "clip": {"clip_sample": True},
    "dynamic": {"clip_sample": False, "thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1e9},
}


def network(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
    """Nonlinear, bounded, different at every t, mixing the pixels."""
    time = t.to(x.dtype).view(-1, 1, 1, 1) / T
    return torch.tanh(1.3 * x.roll(1, dims=-1) - 0.4 * x + time) + 0.5 * torch.sin(3.0 * x.flip(-2) * time)


def start() -> Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def noises(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(11)
    return [torch.randn(SHAPE, dtype=torch.float64, generator=generator) for _ in range(count)]


def in_float64(scheduler: Any, schedule: Schedule) -> Any:
    """The scheduler with our float64 tables in place of its float32 ones, which must agree to float32's precision."""
    assert torch.allclose(scheduler.betas.double(), schedule.beta, rtol=2e-5, atol=1e-8)
    scheduler.betas, scheduler.alphas, scheduler.alphas_cumprod = schedule.beta, schedule.alpha, schedule.alpha_bar
    return scheduler


def our_steps(config: SamplerConfig, schedule: Schedule, prediction: Any) -> tuple[list[int], list[Tensor]]:
    table = sampler_table(config, schedule, prediction)
    noise = noises(len(table.rows))
    steps: list[Tensor] = []
    sample(network, table, start(), None, noise=noise.__getitem__, on_step=lambda k, x, x0: steps.append(x))
    return [row.t - 1 for row in table.rows], steps


def check(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).norm() <= 1e-6 * other.norm()


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("prediction", NAMES)
@pytest.mark.parametrize("name", ["ddpm", "ddpm-large"])
@pytest.mark.parametrize("beta", ["linear", "cosine", "sigmoid"])
def test_ddpm(name, prediction, clip, beta, monkeypatch):
    schedule = make_schedule(beta, T)
    scheduler = DDPMScheduler(
        num_train_timesteps=T,
        beta_schedule="squaredcos_cap_v2" if beta == "cosine" else beta,
        prediction_type=NAMES[prediction],
        variance_type="fixed_large" if name == "ddpm-large" else "fixed_small",
        timestep_spacing="trailing",
        **CLIPS[clip],
    )
    in_float64(scheduler, schedule).set_timesteps(7)
    config = SamplerConfig(name=name, steps=7, clip=clip, dynamic_quantile=0.9)
    times, ours = our_steps(config, schedule, prediction)
    assert times == scheduler.timesteps.tolist()
    # Ours adds nothing in the last step, to x_0. diffusers does so with the large variance if it stops short of t = 0.
    noise = iter([*noises(6), torch.zeros(SHAPE, dtype=torch.float64)])
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: next(noise))
    x, theirs = start(), []
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t.expand(3), None), int(t), x, return_dict=False)[0]
        theirs.append(x)
    check(ours, theirs)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("prediction", NAMES)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_ddim(eta, prediction, clip, spacing):
    schedule = make_schedule("linear", T)
    scheduler = DDIMScheduler(num_train_timesteps=T, prediction_type=NAMES[prediction], timestep_spacing=spacing, **CLIPS[clip])
    in_float64(scheduler, schedule).set_timesteps(8)
    config = SamplerConfig(name="ddim", steps=8, eta=eta, clip=clip, dynamic_quantile=0.9, spacing=spacing)
    times, ours = our_steps(config, schedule, prediction)
    assert times == scheduler.timesteps.tolist()
    x, theirs = start(), []
    for t, noise in zip(scheduler.timesteps, noises(8), strict=True):
        output = network(x, t.expand(3), None)
        noise = noise if eta > 0.0 else None
        x = scheduler.step(output, int(t), x, eta=eta, use_clipped_model_output=True, variance_noise=noise, return_dict=False)[
            0
        ]
        theirs.append(x)
    check(ours, theirs)


@pytest.mark.parametrize("clip", ["none", "dynamic"])  # diffusers' solver knows no plain clipping
@pytest.mark.parametrize("prediction", NAMES)
@pytest.mark.parametrize("beta", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 8, 20])
def test_dpm_solver_multistep(prediction, clip, beta, steps):
    schedule = make_schedule(beta, T)
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=T,
        beta_schedule="squaredcos_cap_v2" if beta == "cosine" else beta,
        prediction_type=NAMES[prediction],
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
        thresholding=clip == "dynamic",
        dynamic_thresholding_ratio=0.9,
        sample_max_value=1e9,
    )
    in_float64(scheduler, schedule).set_timesteps(steps)
    config = SamplerConfig(name="dpm++2m", steps=steps, clip=clip, dynamic_quantile=0.9)
    times, ours = our_steps(config, schedule, prediction)
    assert times == scheduler.timesteps.tolist()
    assert np.allclose(scheduler.sigmas[:-1], sigmas(schedule, times), rtol=1e-5)
    scheduler.sigmas = torch.cat([sigmas(schedule, times), torch.zeros(1, dtype=torch.float64)])
    x, theirs = start(), []
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t.expand(3), None), t, x, return_dict=False)[0]
        theirs.append(x)
    check(ours, theirs)


@pytest.mark.parametrize("clip", ["none", "clip"])
@pytest.mark.parametrize("prediction", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_heun(prediction, clip, steps):
    """diffusers scales x by 1/a: its x is our x / a, at every evaluation."""
    schedule = make_schedule("linear", T)
    scheduler = HeunDiscreteScheduler(
        num_train_timesteps=T,
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type=NAMES[prediction],
        timestep_spacing="trailing",
        clip_sample=clip == "clip",
    )
    in_float64(scheduler, schedule).set_timesteps(steps)
    times, ours = our_steps(SamplerConfig(name="heun", steps=steps, clip=clip, spacing="trailing"), schedule, prediction)
    assert times == scheduler.timesteps.long().tolist()
    assert len(times) == 2 * steps - 1
    at_visits = torch.cat([sigmas(schedule, times), torch.zeros(1, dtype=torch.float64)])
    assert np.allclose(scheduler.sigmas, at_visits, rtol=1e-5)
    scheduler.sigmas = at_visits
    scale = (1.0 + at_visits**2).sqrt()
    x, theirs = start() * scale[0], []
    for k, t in enumerate(scheduler.timesteps):
        x = scheduler.step(network(x / scale[k], t.long().expand(3), None), t, x, return_dict=False)[0]
        theirs.append(x / scale[k + 1])
    check(ours, theirs)


def sigmas(schedule: Schedule, times: list[int]) -> Tensor:
    alpha_bar = schedule.alpha_bar[times]
    return ((1.0 - alpha_bar) / alpha_bar).sqrt()
