"""The warm-up of the latent layers' weights: by hand, and never in what is evaluated."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.families import VAE, Draws, HierarchicalVAE, HierarchicalVAEConfig, LatentChain, VAEConfig
from pipeline.families.warm_up import warmed_up


class Halved(nn.Module):
    """N(x / 2, 1/4): a latent that costs something at every layer."""

    def forward(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        return 0.5 * x, torch.full_like(x, -0.7)


DRAWS = Draws(seed=1, samples=torch.arange(4), epochs=torch.zeros(4, dtype=torch.int64))
IMAGES = torch.linspace(-1.0, 1.0, 8).view(4, 2)


def family(layers: int, warmup_steps: int) -> VAE | HierarchicalVAE:
    if layers == 1:
        return VAE(VAEConfig(latent_shape=(2,), bin_width=None, kl_warmup_steps=warmup_steps))
    return HierarchicalVAE(HierarchicalVAEConfig(latent_shapes=((2,),) * layers, bin_width=None, kl_warmup_steps=warmup_steps))


@pytest.mark.parametrize(("step", "beta"), [(0, 0.1), (4, 0.5), (8, 0.9), (9, 1.0), (10, 1.0), (10**6, 1.0), (None, 1.0)])
@pytest.mark.parametrize("layers", [1, 3])
def test_layer_k_counts_the_kth_power(layers: int, step: int | None, beta: float) -> None:
    network = LatentChain([Halved()] * layers, [Halved()] * layers)
    plain = family(layers, 0).loss(network, IMAGES, None, DRAWS)
    warmed = family(layers, 10).loss(network, IMAGES, None, DRAWS, step=step)
    assert plain.is_bound
    assert warmed.is_bound == (beta == 1.0)
    assert torch.equal(warmed.terms["reconstruction"], plain.terms["reconstruction"])
    for k in range(1, layers + 1):
        torch.testing.assert_close(warmed.terms[f"kl_{k}"], beta**k * plain.terms[f"kl_{k}"])
        assert float(plain.terms[f"kl_{k}"].abs().min()) > 0.0
    torch.testing.assert_close(warmed.total, torch.stack(list(warmed.terms.values())).sum(0))
    if beta < 1.0:
        with pytest.raises(ConfigError, match="got a reweighted loss"):
            warmed.bits_per_dim()


@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_without_a_warm_up_the_first_step_is_the_bound(warmup_steps: int) -> None:
    loss = warmed_up(torch.tensor([2.0]), [torch.tensor([3.0])], step=0, warmup_steps=warmup_steps)
    assert loss.is_bound
    assert float(loss.mean()) == 5.0


@pytest.mark.parametrize("layers", [1, 3])
def test_evaluation_knows_no_warm_up(layers: int) -> None:
    network = LatentChain([Halved()] * layers, [Halved()] * layers)
    bound = family(layers, 1000).bound(network, IMAGES, None, DRAWS)
    assert bound.is_bound
    assert torch.equal(bound.total, family(layers, 0).loss(network, IMAGES, None, DRAWS).total)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_negative_warm_up_is_refused(layers: int) -> None:
    with pytest.raises(ConfigError, match=r"VAEConfig\.kl_warmup_steps: got -1, expected at least 0"):
        family(layers, -1)
