"""Dropout: how much, for whom, and that no network keeps one that asks a global generator."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.families import Draws
from pipeline.networks import SampleDropout, UNet, UNetConfig, masks_from

CONFIG = UNetConfig(widths=(8, 16), blocks=1, attention=(False, True), norm_groups=4, head_dim=8, dropout=0.25)


def source(*samples: int, epoch: int = 0):
    numbers = torch.tensor(samples)
    return Draws(seed=3, samples=numbers, epochs=torch.full_like(numbers, epoch)).octets


def passed(layer: nn.Module, x: Tensor, octets) -> Tensor:
    with masks_from(layer, octets):
        return layer(x)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.999])
def test_the_share_is_dropped_and_the_mean_stays(probability: float) -> None:
    x = torch.full((4, 10, 50, 50), 2.0)
    out = passed(SampleDropout("a", probability).train(), x, source(0, 1, 2, 3))
    share, count = min(255, round(256 * probability)) / 256, x.numel()
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=5.0 * (share * (1 - share) / count) ** 0.5)
    assert out[out != 0].unique().tolist() == pytest.approx([2.0 / (1.0 - share)])


def test_a_mask_belongs_to_layer_sample_and_epoch() -> None:
    layer, x = SampleDropout("a", 0.5).train(), torch.ones(3, 7, 5)
    whole = passed(layer, x, source(10, 11, 12))
    assert torch.equal(passed(layer, x[:1], source(11)), whole[1:2])
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(passed(layer, x, source(10, 11, 12, epoch=1)), whole)
    assert not torch.equal(passed(SampleDropout("b", 0.5).train(), x, source(10, 11, 12)), whole)


def test_evaluation_drops_nothing_and_training_needs_numbers() -> None:
    layer, x = SampleDropout("a", 0.5), torch.ones(2, 3)
    assert torch.equal(layer.eval()(x), x)
    with pytest.raises(ConfigError, match="dropout a: got no source of numbers in training"):
        layer.train()(x)


def test_a_network_in_training_hears_no_global_generator() -> None:
    network = UNet(CONFIG, image_size=8, channels=1, num_classes=0).train()
    assert [name for name, module in network.named_modules() if isinstance(module, nn.Dropout)] == []
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([5, 100, 900])
    with masks_from(network, source(4, 5, 6)):
        torch.manual_seed(0)
        whole = network(x, t, None)
        torch.manual_seed(1)
        assert torch.equal(network(x, t, None), whole)
    with masks_from(network, source(6, 4)):
        torch.testing.assert_close(network(x[[2, 0]], t[[2, 0]], None), whole[[2, 0]], rtol=1e-4, atol=1e-5)
    with masks_from(network, source(7, 8, 9)):
        assert not torch.allclose(network(x, t, None), whole, atol=1e-3)
