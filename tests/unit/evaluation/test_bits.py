"""Bits per dimension: the mean over images, whatever the batches, with the standard error of that mean."""

import math

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.evaluation import BitsMeter, spread_over
from pipeline.families import DiffusionConfig, Draws
from pipeline.models import ImageConfig, LatentConfig, Model, ModelConfig
from pipeline.networks import CoderConfig, UNetConfig

IMAGE = ImageConfig(size=8, channels=1, num_classes=3)
MODELS = {
    "vae": ModelConfig(image=IMAGE, family=LatentConfig(latent_sizes=(4, 2)), network=CoderConfig(widths=(8,), hidden=16)),
    "diffusion": ModelConfig(
        image=IMAGE,
        family=DiffusionConfig(timesteps=10),
        network=UNetConfig(widths=(8,), blocks=1, attention=(False,), norm_groups=4),
    ),
}


def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8))


@pytest.mark.parametrize("name", MODELS)
def test_the_figure_is_the_mean_over_images_and_does_not_depend_on_batches(name: str) -> None:
    model, labels, numbers = Model(MODELS[name]), torch.arange(12) % 3, torch.arange(12) * 7
    whole, cut = BitsMeter(), BitsMeter()
    whole.add(model, images(), labels, numbers, seed=5)
    for rows in (slice(0, 5), slice(5, 6), slice(6, 12)):
        cut.add(model, images()[rows], labels[rows], numbers[rows], seed=5)
    bound = model.bound(images(), labels, Draws(seed=5, samples=numbers, epochs=torch.zeros_like(numbers)))
    bits = bound.bits_per_dim().double()
    for found in (whole.result(), cut.result()):
        assert found.samples == 12
        assert found.mean == pytest.approx(float(bits.mean()), rel=1e-5)
        assert found.standard_error == pytest.approx(float(bits.std()) / math.sqrt(12), rel=1e-4)
        assert sum(found.terms.values()) == pytest.approx(found.mean, rel=1e-5)
        assert found.terms.keys() == found.terms_standard_error.keys() == bound.terms.keys()


def test_one_image_has_no_standard_error() -> None:
    meter = BitsMeter()
    with pytest.raises(ConfigError, match="at least 2 images, got 0"):
        meter.result()


def test_samples_are_spread_over_shards_by_their_size() -> None:
    assert spread_over([500, 500, 500, 297], 1797) == [500, 500, 500, 297]
    assert spread_over([10, 0, 30], 8) == [2, 0, 6]
    assert sum(spread_over([7, 7, 7, 7], 10)) == 10
    assert spread_over([3, 3], 100) == [3, 3]
