"""The U-Net: shapes, conditioning, and what its configuration refuses."""

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from pipeline.errors import ConfigError
from pipeline.networks import UNet, UNetConfig
from pipeline.networks.layout import laid_out, lay_out, layout_on

SMALL = UNetConfig(widths=(8, 16), blocks=1, attention=(False, True), norm_groups=4, head_dim=8)


def unet(config: UNetConfig = SMALL, *, size: int = 8, channels: int = 1, classes: int = 3) -> UNet:
    torch.manual_seed(0)
    return UNet(config, image_size=size, channels=channels, num_classes=classes).eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("widths", "size"), [((8,), 5), ((8, 16), 8), ((8, 8, 16), 12)])
@pytest.mark.parametrize("attend", [False, True])
@torch.no_grad()
def test_output_has_the_shape_of_the_input(channels: int, widths: tuple[int, ...], size: int, attend: bool) -> None:
    config = UNetConfig(widths=widths, blocks=1, attention=(attend,) * len(widths), norm_groups=4, head_dim=8)
    x = torch.randn(2, channels, size, size)
    out = unet(config, size=size, channels=channels)(x, torch.tensor([0, 999]), torch.tensor([0, 3]))
    assert out.shape == x.shape
    assert torch.isfinite(out).all()


@torch.no_grad()
def test_labels_and_timesteps_change_the_output_of_their_rows_only() -> None:
    network, x = unet(), torch.randn(2, 1, 8, 8)
    base = network(x, torch.tensor([5, 5]), torch.tensor([0, 0]))
    label = network(x, torch.tensor([5, 5]), torch.tensor([0, 3]))  # 3 classes: 3 is "no label"
    time = network(x, torch.tensor([5, 700]), torch.tensor([0, 0]))
    for other in (label, time):
        assert torch.allclose(other[0], base[0], atol=1e-6)
        assert not torch.allclose(other[1], base[1], atol=1e-4)


def test_there_is_one_embedding_more_than_classes() -> None:
    names = {name: tuple(value.shape) for name, value in unet(classes=3).diffusers_state().items()}
    assert names["class_embedding.weight"][0] == 4
    assert "class_embedding.weight" not in unet(classes=0).diffusers_state()


@torch.no_grad()
def test_diffusers_rebuilds_the_network_from_its_configuration() -> None:
    network = unet()
    config = network.diffusers_config()
    assert config["_class_name"] == "UNet2DModel"
    theirs = UNet2DModel.from_config(config)
    assert isinstance(theirs, UNet2DModel)
    theirs.load_state_dict(network.diffusers_state())
    x, t, labels = torch.randn(2, 1, 8, 8), torch.tensor([1, 2]), torch.tensor([0, 1])
    assert torch.allclose(theirs(x, t, class_labels=labels).sample, network(x, t, labels), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(("device", "expected"), [("cpu", torch.channels_last), ("cuda", torch.contiguous_format)])
def test_each_device_has_its_layout(device: str, expected: torch.memory_format) -> None:
    assert layout_on(torch.device(device)) == expected


def test_images_are_laid_out_for_the_device_that_they_are_on() -> None:
    assert laid_out(torch.zeros(2, 3, 4, 4)).is_contiguous(memory_format=torch.channels_last)
    assert laid_out(torch.zeros(2, 3)).shape == (2, 3)


def test_channels_last_changes_the_layout_and_not_the_result() -> None:
    network, x = unet(), torch.randn(2, 1, 8, 8)
    expected = network(x, torch.tensor([1, 2]), torch.tensor([0, 1]))
    fast = lay_out(network, torch.device("cpu"))
    weights = [p for p in fast.parameters() if p.ndim == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    x = x.to(memory_format=torch.channels_last)
    assert torch.allclose(fast(x, torch.tensor([1, 2]), torch.tensor([0, 1])), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"widths": ()}, "attention must have one entry per width"),
        ({"attention": (True,)}, "attention must have one entry per width, got 1 for 3 widths"),
        ({"widths": (8, 12, 16), "norm_groups": 8}, r"norm_groups must divide every width, got 8 for widths \(8, 12, 16\)"),
        ({"blocks": 0}, "blocks must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"norm_groups": 0}, "norm_groups must be at least 1, got 0"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
        (
            {"attention": (False, False, True), "head_dim": 48},
            "head_dim must divide .*got 48 for width 256",
        ),
    ],
    ids=str,
)
def test_a_bad_configuration_is_named(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        UNetConfig(**fields)  # pyright: ignore[reportArgumentType]


def test_an_image_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 2 for 2 widths, got 9"):
        unet(size=9)
