"""Pixels in and out of a model, and what a model is built from."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.families import DiffusionConfig, Draws
from pipeline.models import ImageConfig, Model, ModelConfig, num_parameters
from pipeline.models.model import scaled, to_pixels
from pipeline.networks import UNetConfig

NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, True), norm_groups=4, head_dim=8)
LABELLED = ModelConfig(image=ImageConfig(size=8, channels=1, num_classes=4), network=NETWORK)
PLAIN = ModelConfig(image=ImageConfig(size=12, channels=3), family=DiffusionConfig(label_dropout=0.0), network=NETWORK)


def test_all_levels_come_back_as_they_went_in() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_pixels(scaled(levels)), levels)


@given(st.floats(-3, 3, width=32))
def test_a_value_becomes_the_nearest_level(value: float) -> None:
    level = int(to_pixels(torch.tensor(value)))
    distance = (scaled(torch.arange(256, dtype=torch.uint8)) - min(max(value, -1.0), 1.0)).abs()
    assert float(distance[level]) <= float(distance.min()) + 1e-6


def test_scaled_ends_are_minus_one_and_one() -> None:
    assert scaled(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("config", [LABELLED, PLAIN, ModelConfig(image=ImageConfig(size=16), network=UNetConfig())])
def test_num_parameters_is_the_real_count(config: ModelConfig) -> None:
    real = sum(p.numel() for p in Model(config).network.parameters() if p.requires_grad)
    assert num_parameters(config) == real


def test_initial_weights_belong_to_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = Model(LABELLED, init_seed=7).network.state_dict()
    torch.manual_seed(2)
    drawn_before = torch.random.get_rng_state()
    second, other = Model(LABELLED, init_seed=7).network.state_dict(), Model(LABELLED, init_seed=8).network.state_dict()
    assert torch.equal(torch.random.get_rng_state(), drawn_before)
    assert all(torch.equal(second[name], value) for name, value in first.items())
    assert any(not torch.equal(other[name], value) for name, value in first.items())


def test_null_label_is_the_number_after_the_last_class() -> None:
    assert Model(LABELLED).null_label == 4
    assert Model(PLAIN).null_label is None


def _draws(rows: int) -> Draws:
    return Draws(seed=0, samples=torch.arange(rows), epochs=torch.zeros(rows, dtype=torch.int64))


def test_labels_change_the_loss_of_a_labelled_model_only() -> None:
    for config, expected in ((LABELLED, True), (PLAIN, False)):
        model, rows = Model(config), 6
        images = torch.randint(0, 256, (rows, *config.image.shape), dtype=torch.uint8)
        losses = [
            model.loss(model.network, images, torch.full((rows,), label), _draws(rows)).total.tolist() for label in (0, 3)
        ]
        assert (losses[0] != losses[1]) is expected


def test_dropped_labels_become_the_null_label() -> None:
    seen: list[torch.Tensor] = []

    class Watched(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            seen.append(labels)
            return torch.zeros_like(x)

    model = Model(ModelConfig(image=LABELLED.image, family=DiffusionConfig(label_dropout=0.3), network=NETWORK))
    images = torch.zeros((2000, 1, 8, 8), dtype=torch.uint8)
    model.loss(Watched(), images, torch.ones(2000, dtype=torch.int64), _draws(2000))
    assert set(seen[0].tolist()) == {1, 4}
    assert abs(float((seen[0] == 4).float().mean()) - 0.3) < 0.05


@pytest.mark.parametrize(("field", "value"), [("size", 0), ("channels", 2), ("num_classes", -1)])
def test_a_bad_image_is_named(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"{field}.*got {value}"):
        ImageConfig(**{field: value})


def test_an_image_size_that_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 4 for 3 widths, got 30"):
        ModelConfig(image=ImageConfig(size=30))
