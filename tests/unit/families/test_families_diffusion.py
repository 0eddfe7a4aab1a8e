"""The diffusion loss: known networks with known losses, invariances between parameterizations, and who owns the randomness."""

import pytest
import torch
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.families.diffusion import Diffusion, DiffusionConfig
from pipeline.families.noise import Draws
from pipeline.families.predictions import Prediction, eps_from_x0, prediction_target, x0_coefficients

PREDICTIONS: list[Prediction] = ["v", "eps", "x0"]


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0


def draws(count: int, epoch: int = 0, seed: int = 1) -> Draws:
    return Draws(seed=seed, samples=torch.arange(count), epochs=torch.full((count,), epoch))


def viewer(diffusion: Diffusion, x0_hat: Tensor):
    """A network, in the diffusion's parameterization, whose view of x_0 is always x0_hat."""

    def network(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        a, s = diffusion.signal_and_noise(t + 1, x_t)
        return prediction_target(diffusion.config.prediction, a, s, x0_hat, eps_from_x0(a, s, x_t, x0_hat))

    return network


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("weighting", ["simple", "min-snr"])
def test_a_perfect_network_has_no_loss(prediction, weighting):
    diffusion = Diffusion(DiffusionConfig(prediction=prediction, weighting=weighting, timesteps=50))
    x0 = images(40)
    assert diffusion.loss(viewer(diffusion, x0), x0, None, draws(40), None).total.max() < 1e-18


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_target_and_coefficients_are_inverse(prediction):
    x0, eps = images(5), images(5, seed=1)
    a = torch.tensor([0.999, 0.9, 0.5, 0.1, 0.01], dtype=torch.float64).view(-1, 1, 1, 1)
    s = (1.0 - a**2).sqrt()
    of_x, of_output = x0_coefficients(prediction, a, s)
    x_t = a * x0 + s * eps
    torch.testing.assert_close(of_x * x_t + of_output * prediction_target(prediction, a, s, x0, eps), x0, rtol=0, atol=1e-12)
    torch.testing.assert_close(eps_from_x0(a, s, x_t, x0), eps, rtol=0, atol=1e-12)


def test_simple_loss_is_the_error_of_the_prediction():
    """A network that always says 0 has the mean square of the target as its loss."""
    x0 = images(30)
    batch = draws(30)
    eps = batch.normal("noise", (2, 3, 3)).double()
    t = batch.integers("timestep", 1, 51)
    for prediction in PREDICTIONS:
        diffusion = Diffusion(DiffusionConfig(prediction=prediction, timesteps=50))
        alpha_bar = diffusion.schedule.alpha_bar[t - 1].view(-1, 1, 1, 1)
        expected = {"x0": x0, "eps": eps, "v": alpha_bar.sqrt() * eps - (1.0 - alpha_bar).sqrt() * x0}[prediction]
        loss = diffusion.loss(lambda x, t, labels: torch.zeros_like(x), x0, None, batch, None)
        torch.testing.assert_close(loss.total, expected.square().mean((1, 2, 3)))
        assert list(loss.terms) == ["simple"]
        assert float(loss.mean()) == pytest.approx(float(expected.square().mean()))


@pytest.mark.parametrize("gamma", [0.5, 5.0, 1e9])
def test_min_snr_weighs_the_same_image_error_alike_in_all_parameterizations(gamma):
    x0, x0_hat, batch = images(60), images(60, seed=1), draws(60)
    for prediction in PREDICTIONS:
        config = DiffusionConfig(prediction=prediction, weighting="min-snr", min_snr_gamma=gamma, timesteps=50)
        diffusion = Diffusion(config)
        snr = diffusion.schedule.log_snr().exp()[batch.integers("timestep", 1, 51) - 1]
        expected = snr.clamp(max=gamma) * (x0 - x0_hat).square().mean((1, 2, 3))
        loss = diffusion.loss(viewer(diffusion, x0_hat), x0, None, batch, None)
        torch.testing.assert_close(loss.total, expected, rtol=1e-8, atol=0)


def test_network_sees_x_t_and_zero_based_t():
    seen = {}

    def network(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        seen.update(x_t=x_t, t=t, labels=labels)
        return torch.zeros_like(x_t)

    diffusion = Diffusion(DiffusionConfig(timesteps=4, label_dropout=0.0))
    x0, batch, labels = images(200), draws(200), torch.arange(200)
    diffusion.loss(network, x0, labels, batch, None)
    assert set(seen["t"].tolist()) == {0, 1, 2, 3}
    assert torch.equal(seen["labels"], labels)
    assert torch.equal(seen["x_t"], diffusion.q_sample(x0, seen["t"] + 1, batch.normal("noise", (2, 3, 3)).double()))


@pytest.mark.parametrize("weighting", ["simple", "vlb", "min-snr"])
def test_one_batch_of_eight_is_two_of_four(weighting):
    """Bit for bit: the randomness belongs to the samples, in whatever order and company they come."""
    diffusion = Diffusion(DiffusionConfig(weighting=weighting, timesteps=20, label_dropout=0.5))
    x0, labels = images(8).float(), torch.arange(8)
    samples, epochs = torch.tensor([90, 4, 2**40, 7, 1, 2, 3, 5]), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2])

    def network(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return torch.tanh(x_t) + 0.01 * t.view(-1, 1, 1, 1) - 0.1 * labels.view(-1, 1, 1, 1)

    def totals(rows: list[int]) -> Tensor:
        batch = Draws(seed=3, samples=samples[rows], epochs=epochs[rows])
        return diffusion.loss(network, x0[rows], labels[rows], batch, 100).total

    whole = totals(list(range(8)))
    assert torch.equal(torch.cat([totals([0, 1, 2, 3]), totals([4, 5, 6, 7])]), whole)
    assert torch.equal(totals([6, 1]), whole[[6, 1]])


def test_labels_are_dropped_by_sample_at_the_asked_rate():
    seen = []

    def network(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        seen.append(labels)
        return x_t

    diffusion = Diffusion(DiffusionConfig(timesteps=4, label_dropout=0.25))
    count = 20_000
    x0, labels = torch.zeros(count, 1), torch.arange(count) % 10
    for epoch in (0, 0, 1):
        diffusion.loss(network, x0, labels, draws(count, epoch), 10)
    dropped = seen[0] == 10
    assert abs(int(dropped.sum()) - 5000) < 5 * 61.3
    assert torch.equal(seen[0][~dropped], labels[~dropped])
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_half_precision_output_is_weighed_in_the_precision_of_the_images():
    diffusion = Diffusion(DiffusionConfig(timesteps=20))
    loss = diffusion.loss(lambda x, t, labels: x.to(torch.bfloat16), images(4).float(), None, draws(4), None)
    assert loss.total.dtype == torch.float32


@pytest.mark.parametrize("weighting", ["simple", "vlb", "min-snr"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_gradients_by_finite_differences(prediction, weighting):
    diffusion = Diffusion(DiffusionConfig(prediction=prediction, weighting=weighting, timesteps=5))
    x0 = ((images(6) + 1.0) * 127.5).round() / 127.5 - 1.0
    batch = draws(6)

    def loss(weight: Tensor, bias: Tensor) -> Tensor:
        def network(x_t: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
            return torch.tanh(weight * x_t) + bias * (t + 1).to(x_t.dtype).view(-1, 1, 1, 1)

        return diffusion.loss(network, x0, None, batch, None).mean()

    parameters = (
        torch.tensor(0.7, dtype=torch.float64, requires_grad=True),
        torch.tensor(0.1, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(loss, parameters)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "square"}, "DiffusionConfig.schedule: got 'square'"),
        ({"prediction": "noise"}, "DiffusionConfig.prediction: got 'noise'"),
        ({"weighting": "none"}, "DiffusionConfig.weighting: got 'none'"),
        ({"timesteps": 1}, "DiffusionConfig.timesteps: got 1"),
        ({"label_dropout": 1.5}, "DiffusionConfig.label_dropout: got 1.5"),
        ({"min_snr_gamma": 0.0}, "DiffusionConfig.min_snr_gamma: got 0.0"),
        ({"bin_width": 0.0}, "DiffusionConfig.bin_width: got 0.0"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        DiffusionConfig(**fields)


def test_dropout_without_a_null_label_is_refused():
    diffusion = Diffusion(DiffusionConfig(timesteps=5))
    with pytest.raises(ConfigError, match=r"label_dropout=0.1 and no null label"):
        diffusion.loss(lambda x, t, labels: x, images(2), torch.arange(2), draws(2), None)


def test_a_reweighted_loss_has_no_bits():
    diffusion = Diffusion(DiffusionConfig(timesteps=5))
    loss = diffusion.loss(lambda x, t, labels: x, images(2), None, draws(2), None)
    with pytest.raises(ConfigError, match=r"reweighted loss \(simple\)"):
        loss.bits_per_dim()
