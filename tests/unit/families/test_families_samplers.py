"""Samplers on Gaussian data, where exact solutions are known, and the promises of the loop around them."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.noise import normal, stream_key
from pipeline.families.predictions import Prediction, eps_from_x0, prediction_target
from pipeline.families.sampler_tables import SamplerConfig, SamplerName, Spacing, sampler_table, table_along, visited_timesteps
from pipeline.families.samplers import dynamic_threshold, sample
from pipeline.families.schedules import Schedule, make_schedule

MEAN, STD = 0.3, 0.5
NAMES: list[SamplerName] = ["ddpm", "ddpm-large", "ddim", "dpm++2m", "heun"]
PREDICTIONS: list[Prediction] = ["v", "eps", "x0"]


def best_network(schedule: Schedule, prediction: Prediction):
    """E[x_0 | x_t] of x_0 ~ N(MEAN, STD^2), as the prediction asked for."""

    def network(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        alpha_bar = schedule.alpha_bar[t].to(x_t.dtype).view(-1, *(1 for _ in x_t.shape[1:]))
        a, s = alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()
        x0_hat = MEAN + a * STD**2 / (alpha_bar * STD**2 + 1.0 - alpha_bar) * (x_t - a * MEAN)
        return prediction_target(prediction, a, s, x0_hat, eps_from_x0(a, s, x_t, x0_hat))

    return network


def mean_and_variance(network, table, start_mean: float, start_variance: float) -> tuple[float, float]:
    """Exact mean and variance of the sampler's output: with this network it is linear in x_T and every noise.

    Row 0 of the batch has neither, row 1 has x_T = 1, row k + 2 has noise 1 in step k.
    """
    count = len(table.rows) + 2
    x_T = torch.zeros(count, 1, dtype=torch.float64)
    x_T[1] = 1.0

    def noise(k: int) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(k + 2), count).double().view(-1, 1)

    result = sample(network, table, x_T, None, noise=noise).flatten()
    response = result - result[0]
    mean = float(result[0] + response[1] * start_mean)
    return mean, float(response[1] ** 2 * start_variance + response[2:].square().sum())


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(
    ("name", "eta", "order"),
    [("ddpm", 0, 1), ("ddpm-large", 0, 1), ("ddim", 0, 1), ("ddim", 0.5, 1), ("dpm++2m", 0, 2), ("heun", 0, 2)],
)
def test_variance_at_the_order_of_accuracy(name: SamplerName, eta: float, order: int, prediction: Prediction):
    """From one time to another, in even steps of log-SNR; halving them divides the error by 2^order."""
    schedule, first, last = make_schedule("log-snr", 16384), 16384, 4096
    network = best_network(schedule, prediction)
    alpha_bar = schedule.alpha_bar.tolist()
    variance = {t: alpha_bar[t - 1] * STD**2 + 1.0 - alpha_bar[t - 1] for t in (first, last)}
    errors = []
    for steps in (32, 64, 128, 256):
        times = list(range(first, last - 1, -(first - last) // steps))
        table = table_along(SamplerConfig(name=name, eta=eta, clip="none"), schedule, prediction, times)
        mean, got = mean_and_variance(network, table, math.sqrt(alpha_bar[first - 1]) * MEAN, variance[first])
        errors.append(abs(got / variance[last] - 1.0))
        assert mean == pytest.approx(math.sqrt(alpha_bar[last - 1]) * MEAN, abs=0.4 * (8.0 / steps) ** order)
    assert errors[-1] < (0.05 if order == 1 else 0.001)
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("beta", ["linear", "cosine", "sigmoid", "log-snr"])
def test_whole_way_from_pure_noise_to_the_data(name: SamplerName, beta):
    schedule = make_schedule(beta, 1000)
    steps = 100 if name in ("dpm++2m", "heun") else 1000  # second and first order
    table = sampler_table(SamplerConfig(name=name, steps=steps, clip="none"), schedule, "v")
    mean, variance = mean_and_variance(best_network(schedule, "v"), table, 0.0, 1.0)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert variance == pytest.approx(STD**2, rel=0.05)


@pytest.mark.parametrize("beta", ["linear", "cosine"])
def test_ddim_with_eta_one_is_ancestral_sampling(beta):
    schedule = make_schedule(beta, 100)
    for prediction in PREDICTIONS:
        ddim = sampler_table(SamplerConfig(name="ddim", eta=1.0, steps=30), schedule, prediction)
        ddpm = sampler_table(SamplerConfig(name="ddpm", steps=30), schedule, prediction)
        for one, other in zip(ddim.rows, ddpm.rows, strict=True):
            for field in ("t", "to_x0", "to_x0_output", "on_x", "on_x0", "on_noise"):
                assert getattr(one, field) == pytest.approx(getattr(other, field), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_parameterization_does_not_change_the_sample(name: SamplerName):
    schedule = make_schedule("linear", 100)
    x_T = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    results = [
        sample(
            best_network(schedule, prediction),
            sampler_table(SamplerConfig(name=name, steps=15), schedule, prediction),
            x_T,
            None,
            noise=lambda k: torch.full_like(x_T, math.sin(k)),
        )
        for prediction in PREDICTIONS
    ]
    torch.testing.assert_close(results[1], results[0], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(results[2], results[0], rtol=1e-8, atol=1e-8)


def labelled(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
    assert labels is not None
    return torch.tanh(x + 0.1 * labels.to(x.dtype).view(-1, 1, 1, 1) + 0.01 * t.view(-1, 1, 1, 1))


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 3.0])
def test_guidance_is_the_extrapolation_from_unconditional_to_conditional(guidance):
    """One step, eps prediction, against the formula; the number of images a call tells how often the network ran."""
    schedule = make_schedule("linear", 100)
    table = sampler_table(SamplerConfig(name="ddim", steps=1, clip="none"), schedule, "eps")
    x_T = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels, sizes = torch.tensor([1, 2, 3]), []

    def network(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        sizes.append(len(x))
        return labelled(x, t, labels)

    result = sample(network, table, x_T, labels, guidance=guidance, null_label=10)
    assert sizes == [3 if guidance == 1.0 else 6]
    t = torch.full((3,), 99)
    conditional, unconditional = labelled(x_T, t, labels), labelled(x_T, t, torch.full_like(labels, 10))
    output = unconditional + guidance * (conditional - unconditional)
    alpha_bar = float(schedule.alpha_bar[-1])
    torch.testing.assert_close(result, (x_T - math.sqrt(1.0 - alpha_bar) * output) / math.sqrt(alpha_bar))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_sample_is_a_function_of_its_own_index(name: SamplerName, guidance: float):
    """Bit for bit, alone and in any company, with noise keyed by index; eta = 0 samplers ask for none."""
    schedule = make_schedule("cosine", 100)
    table = sampler_table(SamplerConfig(name=name, steps=10), schedule, "v")

    def generate(indices: list[int]) -> Tensor:
        index = torch.tensor(indices)
        return sample(
            labelled,
            table,
            normal(stream_key(0, "initial"), index, 0, (1, 4, 4)),
            index % 10,
            guidance=guidance,
            null_label=10,
            noise=lambda k: normal(stream_key(0, "step"), index, k, (1, 4, 4)),
        )

    whole = generate([0, 1, 2, 3, 4, 5, 6, 7])
    assert torch.equal(torch.cat([generate([0, 1, 2]), generate([3, 4, 5, 6, 7])]), whole)
    assert torch.equal(generate([6, 1]), whole[[6, 1]])
    assert whole.abs().max() <= 1.0


@pytest.mark.parametrize("name", NAMES)
def test_the_loop_reports_each_row_and_keeps_the_start(name: SamplerName):
    schedule = make_schedule("linear", 50)
    table = sampler_table(SamplerConfig(name=name, steps=6), schedule, "v")
    x_T = 3.0 * torch.ones(2, 1, 2, 2)
    seen, asked, times = [], [], []

    def noise(k: int) -> Tensor:
        asked.append(k)
        return torch.ones_like(x_T)

    def network(x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        times.append(int(t[0]))
        return torch.sin(5.0 * x)

    result = sample(network, table, x_T, None, noise=noise, on_step=lambda k, x, x0: seen.append((k, x.clone(), x, x0)))
    assert torch.equal(x_T, 3.0 * torch.ones(2, 1, 2, 2))
    assert [k for k, *_ in seen] == list(range(len(table.rows)))
    assert len(table.rows) == (11 if name == "heun" else 6)
    assert times == [row.t - 1 for row in table.rows]
    assert all(torch.equal(copy, x) for _, copy, x, _ in seen), "a later row wrote into an earlier result"
    assert all(float(x0.abs().max()) <= 1.0 for *_, x0 in seen)
    assert torch.equal(seen[-1][1], result)
    assert asked == (list(range(5)) if name.startswith("ddpm") else [])


@given(st.integers(2, 60), st.data())
def test_visited_times_fall_to_zero(timesteps, data):
    schedule = make_schedule("cosine", timesteps)
    steps = data.draw(st.integers(1, timesteps))
    for spacing in ("trailing", "leading", "log-snr"):
        times = visited_timesteps(schedule, steps, spacing)
        assert len(times) == steps + 1
        assert all(now > after for now, after in pairwise(times))
        assert times[-1] == 0
        assert times[0] <= timesteps
        if spacing != "leading":
            assert times[0] == timesteps
        if steps == timesteps:
            assert times == list(range(timesteps, -1, -1))


def test_log_snr_spacing_is_even_where_the_schedule_is_fine():
    schedule = make_schedule("log-snr", 1000)
    assert visited_timesteps(schedule, 4, "log-snr") == [1000, 667, 334, 1, 0]


def test_dynamic_threshold_by_hand():
    x0 = torch.tensor([[0.0, 0.5, -1.0, 2.0, -4.0], [0.1, 0.2, 0.3, -0.4, 0.5]])
    expected = torch.tensor([[0.0, 0.25, -0.5, 1.0, -1.0], [0.1, 0.2, 0.3, -0.4, 0.5]])
    torch.testing.assert_close(dynamic_threshold(x0, 0.75), expected)
    between = torch.quantile(x0.abs(), 0.9, dim=1).clamp(min=1.0)[:, None]
    torch.testing.assert_close(dynamic_threshold(x0, 0.9), x0.clamp(-between, between) / between)
    assert float(dynamic_threshold(x0, 1.0).abs().max()) == 1.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "euler"}, "SamplerConfig.name: got 'euler'"),
        ({"clip": "yes"}, "SamplerConfig.clip: got 'yes'"),
        ({"spacing": "even"}, "SamplerConfig.spacing: got 'even'"),
        ({"steps": 0}, "SamplerConfig.steps: got 0"),
        ({"name": "ddim", "eta": 1.5}, "SamplerConfig.eta: got 1.5 for ddim"),
        ({"name": "ddpm", "eta": 0.5}, r"SamplerConfig.eta: got 0.5 for ddpm"),
        ({"dynamic_quantile": 0.0}, "SamplerConfig.dynamic_quantile: got 0.0"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        SamplerConfig(**fields)


def test_impossible_requests_are_refused():
    schedule = make_schedule("linear", 10)
    with pytest.raises(ConfigError, match="got 11 steps, expected 1 to the schedule's 10"):
        sampler_table(SamplerConfig(steps=11), schedule, "v")
    with pytest.raises(ConfigError, match="falling"):
        table_along(SamplerConfig(), schedule, "v", [10, 10, 0])
    with pytest.raises(ConfigError, match="falling"):
        table_along(SamplerConfig(), schedule, "v", [11, 0])
    table, x_T = sampler_table(SamplerConfig(steps=2), schedule, "v"), torch.zeros(2, 1, 2, 2)
    with pytest.raises(ConfigError, match="without labels"):
        sample(labelled, table, x_T, None, guidance=2.0, null_label=10)
    with pytest.raises(ConfigError, match="without a null label"):
        sample(labelled, table, x_T, torch.tensor([1, 2]), guidance=2.0)
    with pytest.raises(ConfigError, match="no noise for a sampler that adds some"):
        sample(labelled, sampler_table(SamplerConfig(name="ddpm", steps=2), schedule, "v"), x_T, torch.tensor([1, 2]))


def test_auto_spacing_depends_on_the_sampler():
    schedule = make_schedule("cosine", 100)

    def times(name: SamplerName, spacing: Spacing) -> list[int]:
        return [row.t for row in sampler_table(SamplerConfig(name=name, steps=10, spacing=spacing), schedule, "v").rows]

    assert times("heun", "auto") == times("heun", "log-snr")
    assert times("ddim", "auto") == times("ddim", "trailing")
