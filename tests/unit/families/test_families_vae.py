"""The variational autoencoders against exact likelihoods, Monte Carlo sums, and each other."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from pipeline.errors import ConfigError
from pipeline.families.family import SampleRequest
from pipeline.families.gaussians import PIXEL_WIDTH
from pipeline.families.hierarchical_vae import HierarchicalVAE, HierarchicalVAEConfig
from pipeline.families.latent_chain import LatentChain
from pipeline.families.noise import Draws
from pipeline.families.terms import LossTerms
from pipeline.families.vae import VAE, VAEConfig


class Affine(nn.Module):
    """N(x W^T + b, diag(std^2)): an encoder or decoder whose every integral is known."""

    def __init__(self, weight: Tensor, bias: Tensor, std: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        self.log_std = nn.Parameter(std.log())

    def forward(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        mean = x @ self.weight.T.to(x.dtype) + self.bias.to(x.dtype)
        return mean, self.log_std.to(x.dtype).expand_as(mean)


class Curved(nn.Module):
    """A nonlinear Gaussian with a deviation that depends on the input and the label, between images of two sizes."""

    def __init__(self, shape_in: tuple[int, ...], shape_out: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self.shape_out, size = shape_out, math.prod(shape_out)
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(2 * size, math.prod(shape_in), dtype=torch.float64, generator=generator)
        self.weight = nn.Parameter(0.5 * weight / math.sqrt(math.prod(shape_in)))

    def forward(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        out = torch.tanh(x.flatten(1) @ self.weight.T.to(x.dtype))
        if labels is not None:
            out = out + 0.1 * labels.to(x.dtype)[:, None]
        mean, log_std = out.chunk(2, dim=1)
        return mean.unflatten(1, self.shape_out), 0.5 * log_std.unflatten(1, self.shape_out) - 0.5


def tensor(*values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def draws(count: int, epoch: int = 0) -> Draws:
    return Draws(seed=4, samples=torch.arange(count), epochs=torch.full((count,), epoch))


# --- the linear model: probabilistic PCA ------------------------------------------------------------------------------

# Orthogonal columns make the posterior's covariance diagonal, so that a diagonal encoder can be exact.
WEIGHT = tensor([0.8, 0.1], [0.4, -0.2], [-0.2, 0.5], [0.5, 0.2])
WEIGHT[:, 1] -= WEIGHT[:, 0] * (WEIGHT[:, 0] @ WEIGHT[:, 1]) / (WEIGHT[:, 0] @ WEIGHT[:, 0])
BIAS, NOISE = tensor(0.1, -0.2, 0.3, 0.0), 0.3
EVIDENCE = MultivariateNormal(BIAS, WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(4, dtype=torch.float64))


def pca_network(mistake: float = 0.0) -> tuple[LatentChain, Tensor]:
    """Probabilistic PCA with its exact posterior, the means off by `mistake`; and the posterior's standard deviations.

    M = W^T W + noise^2 I, z | x ~ N(M^-1 W^T (x - b), noise^2 M^-1) (Tipping and Bishop 1999).
    """
    M = WEIGHT.T @ WEIGHT + NOISE**2 * torch.eye(2, dtype=torch.float64)
    to_z, std = torch.linalg.solve(M, WEIGHT.T), NOISE / M.diagonal().sqrt()
    assert float((M - M.diagonal().diag()).abs().max()) < 1e-15
    encoder = Affine(to_z, -to_z @ BIAS + mistake, std)
    return LatentChain([encoder], [Affine(WEIGHT, BIAS, torch.full((4,), NOISE, dtype=torch.float64))]), std


def data(count: int) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EVIDENCE.sample((count,))


def test_with_the_exact_posterior_the_elbo_is_the_likelihood():
    """Averaged over z, for each x by itself: probabilistic PCA's exact evidence."""
    family = VAE(VAEConfig(latent_shape=(2,), bin_width=None))
    network, _ = pca_network()
    x = data(6)
    repeats = 20_000
    loss = family.bound(network, x.repeat_interleave(repeats, dim=0), None, draws(6 * repeats))
    values = 4.0 * loss.total.view(6, repeats)
    error = values.std(1) / math.sqrt(repeats)
    assert bool(((values.mean(1) + EVIDENCE.log_prob(x)).abs() < 5.0 * error).all())
    assert float(error.max()) < 0.01


def test_with_a_wrong_posterior_the_elbo_lacks_the_divergence():
    """ELBO = log p(x) - KL(q(z|x) || p(z|x)): means off by m cost sum m^2 / (2 std^2), whatever x is."""
    family = VAE(VAEConfig(latent_shape=(2,), bin_width=None))
    network, std = pca_network(mistake=0.2)
    x = data(40_000)
    gap = 4.0 * family.bound(network, x, None, draws(len(x))).total + EVIDENCE.log_prob(x)
    assert float(gap.mean()) == pytest.approx(float((0.2**2 / (2.0 * std**2)).sum()), abs=5.0 * float(gap.std()) / 200.0)


def test_training_reaches_the_best_likelihood_of_probabilistic_pca():
    """From a random start, against the closed-form maximum over all weights and noises (Tipping and Bishop 1999, eq. 8)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = EVIDENCE.sample((256,))
        eye = torch.eye(4, dtype=torch.float64)
        encoder = Affine(0.1 * torch.randn(2, 4, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), tensor(0.5, 0.5))
        decoder = Affine(0.1 * torch.randn(4, 2, dtype=torch.float64), torch.zeros(4, dtype=torch.float64), tensor(0.5))
    eigenvalues, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
    noise = eigenvalues[:2].mean()
    best_cov = vectors[:, 2:] @ (eigenvalues[2:] - noise).diag() @ vectors[:, 2:].T + noise * eye
    best = float(MultivariateNormal(x.mean(0), best_cov).log_prob(x).mean())
    family, network = VAE(VAEConfig(latent_shape=(2,), bin_width=None)), LatentChain([encoder], [decoder])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.06)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=300)
    for step in range(300):
        optimizer.zero_grad()
        family.loss(network, x, None, draws(256, step)).mean().backward()
        optimizer.step()
        schedule.step()
    W, variance = decoder.weight.detach(), float(decoder.log_std.detach().exp() ** 2)
    reached = MultivariateNormal(decoder.bias.detach(), W @ W.T + variance * eye).log_prob(x).mean()
    assert best - 0.01 < float(reached) <= best + 1e-9
    elbo = -4.0 * torch.stack([family.bound(network, x, None, draws(256, 1000 + k)).mean() for k in range(50)])
    assert best - 0.05 < float(elbo.mean()) < best + 5.0 * float(elbo.std()) / math.sqrt(50)


def test_samples_have_the_distribution_of_the_model():
    family = VAE(VAEConfig(latent_shape=(2,), bin_width=None))
    network, _ = pca_network()
    count = 100_000
    x = family.sample(network, None, draws(count), SampleRequest(draw_pixels=True)).double()
    limit = 5.0 * float(EVIDENCE.covariance_matrix.max()) / math.sqrt(count)
    assert float((x.mean(0) - BIAS).abs().max()) < 5.0 * float(EVIDENCE.stddev.max()) / math.sqrt(count)
    assert float((torch.cov(x.T) - EVIDENCE.covariance_matrix).abs().max()) < math.sqrt(2.0) * limit
    means = family.sample(network, None, draws(count)).double()
    assert float((torch.cov(means.T) - WEIGHT @ WEIGHT.T).abs().max()) < math.sqrt(2.0) * limit


# --- several layers ---------------------------------------------------------------------------------------------------


def linear_tower() -> tuple[LatentChain, Normal]:
    """x <- z_1 <- z_2 <- z_3 in one dimension, with the exact posteriors going up, and the exact evidence of x."""
    slopes, offsets, stds = [0.7, -0.9, 0.8], [0.2, 0.1, -0.3], [0.3, 0.4, 0.5]  # of p(x|z_1), p(z_1|z_2), p(z_2|z_3)
    means, variances = [0.0], [1.0]  # marginals of z_3, z_2, z_1, x, from the top
    for slope, offset, std in zip(slopes[::-1], offsets[::-1], stds[::-1], strict=True):
        means.append(slope * means[-1] + offset)
        variances.append(slope**2 * variances[-1] + std**2)
    means, variances = means[::-1], variances[::-1]  # of x, z_1, z_2, z_3
    encoders, decoders = [], []
    for k in range(3):
        gain = slopes[k] * variances[k + 1] / variances[k]
        left = variances[k + 1] - gain * slopes[k] * variances[k + 1]
        encoders.append(Affine(tensor([gain]), tensor(means[k + 1] - gain * means[k]), tensor(math.sqrt(left))))
        decoders.append(Affine(tensor([slopes[k]]), tensor(offsets[k]), tensor(stds[k])))
    return LatentChain(encoders, decoders), Normal(tensor(means[0]), tensor(math.sqrt(variances[0])))


def test_with_exact_posteriors_three_layers_give_the_likelihood():
    network, evidence = linear_tower()
    family = HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=((1,), (1,), (1,)), bin_width=None))
    x = tensor(-1.0, 0.0, 0.4, 2.0)[:, None]
    repeats = 50_000
    loss = family.bound(network, x.repeat_interleave(repeats, dim=0), None, draws(4 * repeats))
    assert list(loss.terms) == ["reconstruction", "kl_1", "kl_2", "kl_3"]
    values = loss.total.view(4, repeats)
    error = values.std(1) / math.sqrt(repeats)
    assert bool(((values.mean(1) + evidence.log_prob(x).flatten()).abs() < 5.0 * error).all())
    assert float(error.max()) < 0.01


def test_three_layers_sample_the_distribution_of_the_model():
    network, evidence = linear_tower()
    family = HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=((1,), (1,), (1,)), bin_width=None))
    x = family.sample(network, None, draws(100_000), SampleRequest(draw_pixels=True)).double()
    assert float(x.mean()) == pytest.approx(float(evidence.mean), abs=5.0 * float(evidence.stddev) / math.sqrt(len(x)))
    assert float(x.var()) == pytest.approx(float(evidence.variance), rel=5.0 * math.sqrt(2.0 / len(x)))


SHAPES = ((2, 3, 3), (4,), (3,))


def curved_network(layers: int = 3) -> LatentChain:
    shapes = [(1, 4, 4), *SHAPES[:layers]]
    return LatentChain(
        [Curved(shapes[k], shapes[k + 1], seed=k) for k in range(layers)],
        [Curved(shapes[k + 1], shapes[k], seed=10 + k) for k in range(layers)],
    )


def images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, 4, 4), generator=generator).double() / 127.5 - 1.0


def five_terms(network: LatentChain, x: Tensor) -> dict[str, Tensor]:
    """One draw of each term of the two-layer ELBO by torch.distributions, [B] nats."""

    def gaussian(module: nn.Module, given: Tensor) -> Normal:
        mean, log_std = module(given, None)
        return Normal(mean, log_std.exp())

    q_1 = gaussian(network.encoders[0], x)
    z_1 = q_1.sample()
    q_2 = gaussian(network.encoders[1], z_1)
    z_2 = q_2.sample()
    terms = {
        "p(x|z1)": gaussian(network.decoders[0], z_1).log_prob(x),
        "q(z1|x)": q_1.log_prob(z_1),
        "p(z1|z2)": gaussian(network.decoders[1], z_2).log_prob(z_1),
        "q(z2|z1)": q_2.log_prob(z_2),
        "p(z2)": Normal(torch.zeros_like(z_2), torch.ones_like(z_2)).log_prob(z_2),
    }
    return {name: term.flatten(1).sum(1) for name, term in terms.items()}


def test_two_layers_agree_with_the_five_term_sum():
    """Term by term, within five standard errors; the divergence in closed form has less variance than its two terms."""
    network = curved_network(2).requires_grad_(False)
    family = HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=SHAPES[:2], bin_width=None))
    x, count = images(1).repeat(50_000, 1, 1, 1), 50_000
    with torch.random.fork_rng():
        torch.manual_seed(0)
        five = five_terms(network, x)
    theirs = {
        "reconstruction": -five["p(x|z1)"],
        "kl_1": five["q(z1|x)"] - five["p(z1|z2)"],
        "kl_2": five["q(z2|z1)"] - five["p(z2)"],
    }
    loss = family.bound(network, x, None, draws(count))
    for name, values in {**theirs, "total": sum(theirs.values(), start=torch.zeros(count))}.items():
        ours = 16.0 * (loss.total if name == "total" else loss.terms[name])
        error = math.hypot(float(ours.std()), float(values.std())) / math.sqrt(count)
        assert abs(float(ours.mean() - values.mean())) < 5.0 * error, name
        assert error < 0.05
    assert float(16.0 * loss.terms["kl_2"].std()) < 0.5 * float(theirs["kl_2"].std())


@pytest.mark.parametrize("bin_width", [None, PIXEL_WIDTH])
def test_one_layer_is_the_plain_autoencoder(bin_width):
    """Two implementations of one formula, bit for bit."""
    network, x, labels = curved_network(1), images(5), torch.arange(5)
    plain = VAE(VAEConfig(latent_shape=SHAPES[0], bin_width=bin_width))
    layered = HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=SHAPES[:1], bin_width=bin_width))
    one, other = plain.loss(network, x, labels, draws(5)), layered.loss(network, x, labels, draws(5))
    assert list(one.terms) == list(other.terms) == ["reconstruction", "kl_1"]
    assert torch.equal(one.total, other.total)
    pixels = [family.sample(network, labels, draws(5), SampleRequest(draw_pixels=True)) for family in (plain, layered)]
    assert torch.equal(*pixels)


def test_pixel_likelihood_counts_the_mass_of_the_level():
    """-log of a difference of normal distribution functions, averaged over the image, where z does not matter."""
    decoder = Affine(torch.zeros(16, 2, dtype=torch.float64), tensor(*([0.1] * 16)), tensor(*([0.2] * 16)))
    encoder = Affine(torch.zeros(2, 16, dtype=torch.float64), tensor(0.5, -1.0), tensor(0.3, 2.0))
    network, x = LatentChain([encoder], [decoder]), images(3).flatten(1)
    loss = VAE(VAEConfig(latent_shape=(2,))).loss(network, x, None, draws(3))
    model = Normal(0.1, 0.2)
    above = torch.where(x > 0.999, 1.0, model.cdf(x + PIXEL_WIDTH / 2.0))
    below = torch.where(x < -0.999, 0.0, model.cdf(x - PIXEL_WIDTH / 2.0))
    torch.testing.assert_close(loss.terms["reconstruction"].detach(), -(above - below).log().mean(1), rtol=1e-6, atol=1e-9)
    q, p = Normal(tensor(0.5, -1.0), tensor(0.3, 2.0)), Normal(tensor(0.0, 0.0), tensor(1.0, 1.0))
    expected = torch.distributions.kl_divergence(q, p).sum() / 16.0
    torch.testing.assert_close(loss.terms["kl_1"].detach(), expected.expand(3))


# --- what both share --------------------------------------------------------------------------------------------------

FAMILIES = {
    "vae": (VAE(VAEConfig(latent_shape=SHAPES[0])), 1),
    "hierarchical": (HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=SHAPES)), 3),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_loss_and_samples_belong_to_the_sample(name):
    family, layers = FAMILIES[name]
    network, x, labels = curved_network(layers).float(), images(8).float(), torch.arange(8)

    def batch(rows: list[int]) -> Draws:
        return Draws(seed=4, samples=torch.arange(100, 108)[rows], epochs=torch.arange(8)[rows])

    def total(rows: list[int]) -> Tensor:
        return family.loss(network, x[rows], labels[rows], batch(rows)).total

    def sampled(rows: list[int]) -> Tensor:
        return family.sample(network, labels[rows], batch(rows), SampleRequest(draw_pixels=True))

    for function in (total, sampled):
        whole = function(list(range(8)))
        # Matrix products of other sizes may add up in another order.
        torch.testing.assert_close(torch.cat([function([0, 1, 2, 3]), function([4, 5, 6, 7])]), whole, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(function([6, 1]), whole[[6, 1]], rtol=1e-5, atol=1e-6)
    assert sampled([0, 1]).shape == (2, 1, 4, 4)
    assert float(sampled(list(range(8))).abs().max()) <= 1.0


@pytest.mark.parametrize("name", FAMILIES)
def test_terms_add_up_and_convert_to_bits(name):
    family, layers = FAMILIES[name]
    loss: LossTerms = family.bound(curved_network(layers), images(5), None, draws(5))
    torch.testing.assert_close(loss.total, torch.stack(list(loss.terms.values())).sum(0))
    torch.testing.assert_close(loss.bits_per_dim(), loss.total / math.log(2.0))
    assert loss.total.shape == (5,)
    assert not loss.total.requires_grad


@pytest.mark.parametrize("bin_width", [None, PIXEL_WIDTH])
@pytest.mark.parametrize("layers", [1, 3])
def test_gradients_by_finite_differences(layers, bin_width):
    family = HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=SHAPES[:layers], bin_width=bin_width))
    network, x = curved_network(layers), images(2)
    weights = dict(network.named_parameters())

    def loss(*values: Tensor) -> Tensor:
        replaced = dict(zip(weights, values, strict=True))

        def call(*arguments):
            return torch.func.functional_call(network, replaced, arguments)

        return family.loss(call, x, None, draws(2)).mean()

    # Along random directions: one number a weight tensor stands for thousands of entries.
    assert torch.autograd.gradcheck(loss, tuple(weights.values()), fast_mode=True)


def test_half_precision_modules_are_weighed_in_the_precision_of_the_images():
    class Half(nn.Module):
        def forward(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
            mean = x.to(torch.bfloat16)
            return mean, torch.zeros(1, dtype=torch.bfloat16)

    family = HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=((1, 4, 4), (1, 4, 4))))
    network = LatentChain([Half(), Half()], [Half(), Half()])
    loss = family.loss(network, images(2).float(), None, draws(2))
    assert {value.dtype for value in [loss.total, *loss.terms.values()]} == {torch.float32}
    assert family.sample(network, None, draws(2)).dtype == torch.float32
    passed = network(images(2).float(), None, [torch.zeros(2, 1, 4, 4)] * 2)
    assert {tuple(part.shape) for gaussian in passed.ups + passed.downs for part in gaussian} == {(2, 1, 4, 4)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VAEConfig(latent_shape=()), r"VAEConfig.latent_shape: got \(\)"),
        (lambda: VAEConfig(latent_shape=(2,), bin_width=-1.0), r"VAEConfig.bin_width: got -1.0"),
        (lambda: HierarchicalVAEConfig(latent_shapes=()), r"HierarchicalVAEConfig.latent_shapes: got \(\)"),
        (lambda: HierarchicalVAEConfig(latent_shapes=((2,), (0,))), r"latent_shapes\[1\]: got \(0,\)"),
        (lambda: LatentChain([], []), "got 0 encoders and 0 decoders"),
        (lambda: LatentChain([nn.Identity()], []), "got 1 encoders and 0 decoders"),
        (
            lambda: VAE(VAEConfig(latent_shape=(2, 3, 1))).loss(curved_network(1), images(5), None, draws(5)),
            r"mean of shape \(5, 2, 3, 3\) from encoder 1, expected \(5, 2, 3, 1\)",
        ),
    ],
)
def test_mistakes_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
