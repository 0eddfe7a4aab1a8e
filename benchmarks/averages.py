"""How near an average of weights that is reconstructed from snapshots comes to the one kept step by step, on the digits.

    python benchmarks/averages.py --steps 600

Two lengths are kept and saved as snapshots; the others are made of those, and kept as well in the same training, to compare.
Prints the table of docs/families.md.
"""

import argparse
import tempfile
from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from pipeline.checkpoints import reconstruct, save_snapshot
from pipeline.models import Model
from pipeline.plans.presets import preset
from pipeline.training import Batch, TrainState
from pipeline.training.loop import train_step

KEPT, WANTED, SNAPSHOTS = (0.05, 0.1), (0.03, 0.07, 0.15, 0.2), 20


def main() -> None:
    """Trains once and prints a row for each length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    pixels, target = load_digits(return_X_y=True)
    images = torch.from_numpy((np.asarray(pixels) * 15).astype(np.uint8).reshape(-1, 8, 8, 1))
    labels, draw = torch.from_numpy(np.asarray(target, np.int64)), np.random.default_rng(1)
    config = preset("digits")
    optim = replace(config.optim, precision="fp32", ema_lengths=(*KEPT, *WANTED))
    state = TrainState(Model(config.model), optim, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as run:
        for step in range(1, steps + 1):
            rows = torch.from_numpy(draw.integers(0, len(images), 64))
            epochs = torch.full((len(rows),), step)
            train_step(
                state, state.network, Batch(images=images[rows], labels=labels[rows], samples=rows, epochs=epochs), seed=0
            )
            if step % (steps // SNAPSHOTS) == 0:
                save_snapshot(run, step, {length: state.averages[length] for length in KEPT})
        print(f"\n{steps} steps of the preset digits, snapshots of the lengths {KEPT} every {steps // SNAPSHOTS} steps\n")
        print("| length | profile missed | reconstruction off by | nearest kept average off by | current weights off by |")
        print("|---|---|---|---|---|")
        for length in WANTED:
            made, exact = reconstruct(run, length, steps), state.averages[length]
            nearest = min(distance(state.averages[kept], exact) for kept in KEPT)
            current = distance(state.network.state_dict(), exact)
            off = distance(made.weights, exact)
            print(f"| {length:g} | {made.missed:.2%} | {off:.3%} | {nearest:.2%} | {current:.2%} |", flush=True)


def distance(weights: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Norm of the difference of all weights as a share of the norm of the exact ones."""
    missed = sum(float((weights[name] - value).double().square().sum()) for name, value in exact.items())
    return (missed / sum(float(value.double().square().sum()) for value in exact.values())) ** 0.5


if __name__ == "__main__":
    main()
