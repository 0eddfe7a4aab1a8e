"""Strips over time: an image dissolving into noise, and noise becoming an image."""

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.families import SamplerConfig, normal, sample, sampler_table, stream_key
from pipeline.models import Model
from pipeline.models.model import scaled, to_pixels


def noising_strip(model: Model, image: NDArray[np.uint8], frames: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """Returns an image at evenly spaced times of the forward process, from itself to (almost) pure noise.

    Args:
        model: For its noise schedule.
        image: uint8 [H, W, C].
        frames: Number of pictures.
        seed: Seed of the noise.

    Returns:
        uint8 [frames, H, W, C].
    """
    x_0 = scaled(torch.from_numpy(image).permute(2, 0, 1)[None])
    noise = normal(stream_key(seed, "noising strip"), torch.zeros(1, dtype=torch.int64), 0, tuple(x_0.shape[1:]))
    times = np.linspace(0, model.diffusion.timesteps, frames).round().astype(int).tolist()
    shown = [model.diffusion.q_sample(x_0, torch.tensor([t]), noise) for t in times]
    return to_pixels(torch.cat(shown)).permute(0, 2, 3, 1).numpy()


def generating_strip(model: Model, label: int | None, frames: int = 8, seed: int = 0, steps: int = 49) -> NDArray[np.uint8]:
    """Returns one sample at evenly spaced times of the reverse process, from pure noise to the image.

    Args:
        model: With trained weights, on the CPU.
        label: Class asked for; None for a model without labels.
        frames: Number of pictures.
        seed: Seed of the noise.
        steps: Steps of the sampler.

    Returns:
        uint8 [frames, H, W, C].
    """
    x_T = normal(stream_key(seed, "generating strip"), torch.zeros(1, dtype=torch.int64), 0, model.config.image.shape)
    states = [x_T]
    table = sampler_table(SamplerConfig(name="ddim", steps=steps), model.diffusion.schedule, model.diffusion.config.prediction)
    labels = None if label is None else torch.tensor([label])
    sample(model.network, table, x_T, labels, null_label=model.null_label, on_step=lambda row, x, x_0: states.append(x.clone()))
    chosen = np.linspace(0, len(states) - 1, frames).round().astype(int).tolist()
    return to_pixels(torch.cat([states[i] for i in chosen])).permute(0, 2, 3, 1).numpy()
