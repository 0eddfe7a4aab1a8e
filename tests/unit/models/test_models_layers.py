"""Data that one latent layer cannot explain and several can, in one dimension, where every likelihood is known."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from pipeline.families import Draws, HierarchicalVAE, HierarchicalVAEConfig, LatentChain
from pipeline.networks import CoderConfig, LatentCoder

# x = z_1 + noise, and z_1 has two modes: p(x|z_1) is given, so all that is left to learn is the distribution of z_1.
NOISE, SPREAD = 0.1, 0.2
DATA = MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([-1.0, 1.0]), SPREAD))
ONE_LAYER = Normal(0.0, math.hypot(1.0, NOISE))  # the evidence that z_1 ~ N(0, 1) gives, whatever q is


class Given(nn.Module):
    """N(a x + b, std^2), to be trained or not."""

    def __init__(self, *, learnt: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 0.0, math.log(NOISE)]), requires_grad=learnt)

    def forward(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        a, b, log_std = self.weight
        return a * x + b, log_std.expand_as(x)


def trained(layers: int, steps: int) -> tuple[HierarchicalVAE, LatentChain]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        coders = CoderConfig(widths=(8,), hidden=32)
        ups, downs = ([LatentCoder(coders, from_size=1, to_size=1, num_classes=0) for _ in range(layers - 1)] for _ in range(2))
        network = LatentChain([Given(learnt=True), *ups], [Given(learnt=False), *downs])
        config = HierarchicalVAEConfig(latent_shapes=((1,),) * layers, bin_width=None, kl_warmup_steps=steps // 2)
        family = HierarchicalVAE(config)
        optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=5e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps):
            optimizer.zero_grad()
            family.loss(network, DATA.sample((256, 1)), None, draws(256, step), None, step).mean().backward()
            optimizer.step()
            schedule.step()
    return family, network


def draws(count: int, epoch: int) -> Draws:
    return Draws(seed=0, samples=torch.arange(count), epochs=torch.full((count,), epoch))


def test_upper_layers_are_used_where_the_data_needs_them() -> None:
    """The bound of one layer cannot pass that layer's evidence; three layers come near the likelihood of the data itself."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        x = DATA.sample((4000, 1))
    likelihood, one_layer = float(DATA.log_prob(x).mean()), float(ONE_LAYER.log_prob(x).mean())
    assert likelihood - one_layer > 0.9
    elbo = {}
    for layers in (1, 3):
        bound = (family := trained(layers, steps=400))[0].bound(family[1], x, None, draws(len(x), 10**6))
        error = float((bound.total + DATA.log_prob(x)[:, 0]).std()) / math.sqrt(len(x))
        elbo[layers] = -float(bound.total.mean())
        assert elbo[layers] < (one_layer if layers == 1 else likelihood) + 5.0 * error
    assert elbo[1] == pytest.approx(one_layer, abs=0.05)
    assert elbo[3] > likelihood - 0.35
    # What the latents say of x passes through every layer: nearly all of it is paid for at the top.
    assert float(bound.terms["kl_3"].mean()) > 1.0
