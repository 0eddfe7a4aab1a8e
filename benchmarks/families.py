"""Three families on the digits at equal training time (of the processor): bits per dimension of images they were not trained on.

    python benchmarks/families.py --seconds 60

Same data, same batches, one CPU thread; each family's own preset, but for a warm-up of the latent layers of 400 steps, for the
preset's is that of a shorter training. Prints the table of docs/families.md.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import load_digits

from pipeline.evaluation import BitsMeter, BitsPerDim
from pipeline.models import LatentConfig, Model, num_parameters
from pipeline.plans.presets import preset
from pipeline.training import Batch, OptimConfig, TrainState
from pipeline.training.loop import train_step

HELD_OUT = 297
BATCH = 64
WARMUP_STEPS = 400
NAMES = {"digits-vae": "VAE, one latent layer", "digits-hvae": "VAE, three latent layers", "digits": "diffusion, T = 1000"}


def main() -> None:
    """Trains and evaluates each family and prints a row of the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time of each family")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    pixels, target = load_digits(return_X_y=True)
    images = torch.from_numpy((np.asarray(pixels) * 15).astype(np.uint8).reshape(-1, 8, 8, 1))
    labels = torch.from_numpy(np.asarray(target, np.int64))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(images)))
    images, labels = images[order], labels[order]
    print(
        f"\n{len(images) - HELD_OUT} digits to train on, {HELD_OUT} held out, {seconds:.0f} processor seconds of training each\n"
    )
    print("| family | parameters | steps | bits/dim (standard error) | its terms |\n|---|---|---|---|---|")
    for name, title in NAMES.items():
        state, steps = trained(name, images[HELD_OUT:], labels[HELD_OUT:], seconds)
        found = bits(state, images[:HELD_OUT], labels[:HELD_OUT])
        terms = ", ".join(f"{term} {value:.3f}" for term, value in found.terms.items())
        size = num_parameters(state.model.config)
        print(f"| {title} | {size:,} | {steps:,} | {found.mean:.3f} ({found.standard_error:.3f}) | {terms} |", flush=True)


def trained(name: str, images: torch.Tensor, labels: torch.Tensor, seconds: float) -> tuple[TrainState, int]:
    """A family after so many seconds of training, with its averaged weights in place."""
    config = preset(name)
    optim: OptimConfig = replace(config.optim, precision="fp32")
    model = config.model
    if isinstance(model.family, LatentConfig):
        model = replace(model, family=replace(model.family, kl_warmup_steps=WARMUP_STEPS))
    state = TrainState(Model(model), optim, torch.device("cpu"))
    draw, begin = np.random.default_rng(1), time.process_time()
    while time.process_time() - begin < seconds:
        rows = torch.from_numpy(draw.integers(0, len(images), BATCH))
        epochs = torch.full((BATCH,), state.step)  # fresh noise for every visit of an image
        batch = Batch(images=images[rows], labels=labels[rows], samples=rows, epochs=epochs)
        train_step(state, state.network, batch, seed=0)
    state.network.load_state_dict(state.ema)
    state.network.eval()
    return state, state.step


def bits(state: TrainState, images: torch.Tensor, labels: torch.Tensor) -> BitsPerDim:
    """The figure over held-out images."""
    meter = BitsMeter()
    meter.add(state.model, images.permute(0, 3, 1, 2), labels, torch.arange(len(images)), seed=0)
    return meter.result()


if __name__ == "__main__":
    main()
