"""The whole method on points, within a minute on two CPU cores: python jobs/swiss_roll.py --output FOLDER."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

import pipeline.runtime.keyboard  # noqa: F401 (first: it hears a stop while the others are imported)
from pipeline import storage
from pipeline.evaluation import sliced_wasserstein
from pipeline.families import Diffusion, DiffusionConfig, Draws, SamplerConfig, SampleRequest, normal, stream_key
from pipeline.networks.dense import PointNetwork
from pipeline.pictures import diffusion_rows
from pipeline.plans.flags import arguments, parse_flags
from pipeline.plans.output_folder import output_url
from pipeline.runtime.console import say_table
from pipeline.runtime.job import FAILED, OK, run_job
from pipeline.telemetry import ProgressPoint, ProgressReporter
from pipeline.training import swiss_roll, train_on_points

COLUMNS = 5
# Sampled points may be this many times as far from real ones as other real ones are.
FARTHEST = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SwissRollCommand:
    """Train a diffusion model on the 2-D swiss roll, draw both processes and the drift, and measure the distance."""

    output: str = ""
    """Folder or URL for the picture."""
    steps: int = 2500
    """Training steps."""
    batch: int = 512
    """Points a step."""
    timesteps: int = 200
    """Steps T of the forward process."""
    points: int = 4000
    """Points of the clouds that are compared."""
    seed: int = 0
    """Seed of everything."""


def main() -> int:
    """Trains, draws and measures; returns 0 if the sampled cloud is near the real one."""
    command = parse_flags(SwissRollCommand, arguments(), SwissRollCommand(), prog="swiss_roll.py")
    output, begin = output_url("--output", command.output), time.monotonic()
    config = DiffusionConfig(schedule="cosine", timesteps=command.timesteps, prediction="v", bin_width=None)
    with ProgressReporter("swiss roll", "step") as reporter:
        family, network = train_on_points(
            config,
            lambda numbers: swiss_roll(numbers, command.seed),
            steps=command.steps,
            batch=command.batch,
            seed=command.seed,
            on_step=lambda step, loss: reporter.update(ProgressPoint(done=step, total=command.steps, loss=loss)),
        )
    # Numbers that training has not seen: other points.
    unseen = torch.arange(command.points) + command.steps * command.batch
    real, other = (swiss_roll(unseen + k * command.points, command.seed) for k in (0, 1))
    states = _reverse(family, network, command.points, command.seed)
    sampled, between = (sliced_wasserstein(cloud, real) for cloud in (states[0], other))
    url = storage.join(output, "swiss_roll.png")
    storage.put_replace(url, _drawn(family, network, real, states, command.seed))
    say_table(
        f"Done in {time.monotonic() - begin:.0f} s",
        [
            ("sampled to real", f"{sampled:.4f} (sliced Wasserstein distance of {command.points:,} points each)"),
            ("real to other real", f"{between:.4f}"),
            ("noise to real", f"{sliced_wasserstein(states[family.timesteps], real):.4f}"),
            ("picture", url),
        ],
    )
    return OK if sampled <= FARTHEST * between else FAILED


def _reverse(family: Diffusion, network: PointNetwork, count: int, seed: int) -> dict[int, Tensor]:
    """x_t by t along the ancestral sampler, from T down to 0."""
    numbers = torch.arange(count)
    draws = Draws(seed=seed, samples=numbers, epochs=torch.zeros_like(numbers))
    states = {family.timesteps: draws.normal("generation start", (2,))}
    request = SampleRequest(shape=(2,), sampler=SamplerConfig(name="ddpm", steps=family.timesteps, clip="none"))
    family.sample(
        network, None, draws, request, on_step=lambda row, x, x0: states.update({family.timesteps - row - 1: x.clone()})
    )
    return states


@torch.no_grad()
def _drawn(family: Diffusion, network: PointNetwork, real: Tensor, states: dict[int, Tensor], seed: int) -> bytes:
    T = family.timesteps
    # Closer together near the data, where the picture changes most.
    times = [round(T * (k / (COLUMNS - 1)) ** 2.5) for k in range(COLUMNS)]
    noise = normal(stream_key(seed, "picture"), torch.arange(len(real)), 0, (2,))
    grid = torch.linspace(-2.6, 2.6, 15)
    places = torch.cartesian_prod(grid, grid)
    forward, reverse, drift = {}, {}, {}
    for t in times:
        forward[f"t = {t} of {T}"] = family.q_sample(real, torch.full((len(real),), t), noise).numpy()
        reverse[str(t)] = states[t].numpy()
        at = torch.full((len(places),), max(1, t))  # the last step leads from x_1
        drift[str(t)] = (places.numpy(), family.drift(network, places, at).numpy())
    return diffusion_rows(forward, reverse, drift)


if __name__ == "__main__":
    run_job(main)
