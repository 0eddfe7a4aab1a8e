"""How much of the network's own speed does a generation job keep, and how does it compare with Ray Data and diffusers?

    python benchmarks/generate.py [--size 32] [--images 512] [--batch 64] [--steps 20] [--turns 3] [--no-peer]

Three cases with the same network (diffusers' U-Net, channels last), the same sampler (ddim) and steps, one thread, one process:

- bare: the network's forward passes alone, nothing else, on one batch that stays where it is;
- end to end: what a sampler actor does with a part: noise, sampling, encoding as PNG, the Parquet file, the commit to disk;
- peer: diffusers' DDIM scheduler under Ray Data `map_batches` with an actor class, PNG, `write_parquet`.

bare and end to end take turns, and the ratio is of the medians; start-up is not counted in any of them: the peer's clock begins at its
first batch. The peer's network has no channels-last layout and no compilation: that is how diffusers' pipelines run.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measuring import machine

from pipeline.families import DiffusionConfig, SamplerConfig
from pipeline.generation import GenerationSpec, ImageSampler, encode_png
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.samples import PartRows, SampleSet, encode_part

NETWORK = UNetConfig(widths=(32, 64, 128), blocks=2, attention=(False, False, True))


def model_of(size: int) -> Model:
    """A colour model of the benchmark's size with fresh weights; what it draws does not matter here."""
    image = ImageConfig(size=size, channels=3, num_classes=0)
    return Model(ModelConfig(image=image, family=DiffusionConfig(), network=NETWORK), init_seed=0)


def spec_of(batch: int, steps: int) -> GenerationSpec:
    """No labels, no guidance: one evaluation a step."""
    sampler = SamplerConfig(name="ddim", steps=steps)
    return GenerationSpec(
        checkpoint_digest="", seed=0, sampler=sampler, guidance=1.0, labels=(), part_rows=batch, batch_rows=batch
    )


@torch.no_grad()
def bare(model: Model, size: int, batch: int, steps: int, images: int) -> float:
    """Returns images a second of the forward passes."""
    x = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    t = torch.full((batch,), 500)
    begin = time.perf_counter()
    for _ in range(images // batch):
        for _ in range(steps):
            model.network(x, t, None)
    return images // batch * batch / (time.perf_counter() - begin)


def end_to_end(sampler: ImageSampler, samples: SampleSet, first: int, batch: int, images: int) -> float:
    """Returns images a second from numbers to committed parts."""
    begin = time.perf_counter()
    for start in range(first, first + images // batch * batch, batch):
        made = [encode_png(one) for one in sampler.images(start, batch)]
        samples.commit(start, encode_part(PartRows(first=start, images=made), {"seed": 0}), batch)
    return images // batch * batch / (time.perf_counter() - begin)


class Peer:
    """What people write: diffusers' network and scheduler in an actor of Ray Data."""

    def __init__(self, size: int, steps: int) -> None:
        from diffusers import DDIMScheduler

        torch.set_num_threads(1)
        self._network = model_of(size).network.eval()
        self._scheduler = DDIMScheduler(num_train_timesteps=1000, prediction_type="v_prediction", clip_sample=True)
        self._size, self._steps = size, steps

    @torch.no_grad()
    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[object]]:
        """A block of row numbers becomes PNG files; noise from the global generator, as usual."""
        began = time.time()
        x = torch.randn(len(rows["id"]), 3, self._size, self._size)
        self._scheduler.set_timesteps(self._steps)
        for t in self._scheduler.timesteps:
            output = self._network(x, torch.full((len(x),), int(t)), None)
            x = self._scheduler.step(output, int(t), x).prev_sample
        pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return {"id": list(rows["id"]), "image": [encode_png(one) for one in pixels], "began": [began] * len(x)}


def peer(folder: str, size: int, batch: int, steps: int, images: int) -> float:
    """Returns images a second from the first batch's begin to the end of the write."""
    import pyarrow.parquet as pq
    import ray

    ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False)
    try:
        data = ray.data.range(images // batch * batch, override_num_blocks=images // batch)
        made = data.map_batches(Peer, fn_constructor_args=(size, steps), batch_size=batch, concurrency=1, num_cpus=1)
        made.write_parquet(folder)
        ended = time.time()
    finally:
        ray.shutdown()
    began = min(pq.read_table(file, columns=["began"])["began"].to_numpy().min() for file in Path(folder).glob("*.parquet"))
    return images // batch * batch / (ended - began)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 32), ("images", 512), ("batch", 64), ("steps", 20), ("turns", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-peer", action="store_true", help="leave Ray Data out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(machine(["torch", "diffusers", "ray", "pyarrow"])))
    model = model_of(given.size)
    sampler = ImageSampler(model, spec_of(given.batch, given.steps), torch.device("cpu"))
    parameters = sum(p.numel() for p in model.network.parameters()) / 1e6
    print(
        f"U-Net of {parameters:.2f} M parameters, {given.size}x{given.size}x3, batch {given.batch}, {given.steps} steps of ddim\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        samples = SampleSet(f"{folder}/set")
        samples.open({"seed": 0})
        bare(model, given.size, given.batch, 2, given.batch)
        rates: dict[str, list[float]] = {"bare": [], "end to end": [], "peer": []}
        for turn in range(given.turns):
            rates["bare"].append(bare(model, given.size, given.batch, given.steps, given.images))
            first = turn * given.images
            rates["end to end"].append(end_to_end(sampler, samples, first, given.batch, given.images))
            if not given.no_peer:
                rates["peer"].append(peer(f"{folder}/peer-{turn}", given.size, given.batch, given.steps, given.images))
        rates["bare"].append(bare(model, given.size, given.batch, given.steps, given.images))
    whole = statistics.median(rates["bare"])
    print(f"{'case':12} {'images/s':>9} {'of bare':>8}   runs")
    for name, found in rates.items():
        if found:
            rate = statistics.median(found)
            print(f"{name:12} {rate:9.2f} {rate / whole:8.1%}   {' '.join(f'{one:.2f}' for one in found)}")


if __name__ == "__main__":
    main()
