"""Strips over time begin and end where they say."""

import numpy as np
import pytest
import torch
from generation_models import model

from pipeline.families import SamplerConfig, normal, sample, sampler_table, stream_key
from pipeline.generation import generating_strip, noising_strip
from pipeline.models.model import to_pixels

IMAGE = np.tile(np.linspace(0, 255, 8).round().astype(np.uint8), (8, 1))[..., None]


@pytest.mark.parametrize("frames", [2, 5])
def test_noising_begins_with_the_image_and_ends_in_noise(frames: int) -> None:
    strip = noising_strip(model(), IMAGE, frames=frames)
    assert strip.shape == (frames, 8, 8, 1)
    assert np.array_equal(strip[0], IMAGE)
    correlation = [np.corrcoef(frame.ravel(), IMAGE.ravel())[0, 1] for frame in strip]
    assert correlation == sorted(correlation, reverse=True)
    assert correlation[-1] < 0.3


def test_noising_has_the_schedules_variance() -> None:
    """Half-way the frame is sqrt(alpha_bar) image + sqrt(1 - alpha_bar) noise, of one and the same noise."""
    built = model()
    strip = noising_strip(built, IMAGE, frames=3, seed=4)
    alpha_bar = float(built.diffusion.schedule.alpha_bar[49])  # counted from 0: step 50 of 100
    noise = normal(stream_key(4, "noising strip"), torch.zeros(1, dtype=torch.int64), 0, (1, 8, 8))[0, 0].numpy()
    x = np.sqrt(alpha_bar) * (IMAGE[..., 0] / 127.5 - 1) + np.sqrt(1 - alpha_bar) * noise
    expected = ((np.clip(x, -1, 1) + 1) * 127.5).round()
    assert np.abs(strip[1, ..., 0] - expected).max() <= 1


def test_other_seeds_draw_other_noise() -> None:
    assert not np.array_equal(noising_strip(model(), IMAGE, seed=0)[-1], noising_strip(model(), IMAGE, seed=1)[-1])


@pytest.mark.parametrize("label", [0, 2])
def test_generating_begins_with_noise_and_ends_with_the_sample(label: int) -> None:
    built = model()
    strip = generating_strip(built, label, frames=4, seed=2, steps=6)
    assert strip.shape == (4, 8, 8, 1)
    x_T = normal(stream_key(2, "generating strip"), torch.zeros(1, dtype=torch.int64), 0, (1, 8, 8))
    table = sampler_table(SamplerConfig(name="ddim", steps=6), built.diffusion.schedule, "v")
    x_0 = sample(built.network, table, x_T, torch.tensor([label]), null_label=3)
    assert np.array_equal(strip[0], to_pixels(x_T)[0].permute(1, 2, 0).numpy())
    assert np.array_equal(strip[-1], to_pixels(x_0)[0].permute(1, 2, 0).numpy())


def test_a_model_without_labels_has_a_strip_too() -> None:
    assert generating_strip(model(classes=0, channels=3), None, frames=3, steps=4).shape == (3, 8, 8, 3)
