"""The measured side of `generate.py`: each case is a process that makes as many images as it is asked for, and waits in between.

    python benchmarks/generate_cases.py {bare,job,peer} FOLDER BATCH STEPS {plain,best} {fp32,bf16} {cpu,cuda}

FOLDER is a model as diffusers saves it, the same for all cases; the precision is that of bare and job, and of the peer at its best. Start-up is over when the first line is answered; every later answer
has the images, the wall seconds and the CPU seconds of this process and all its descendants, Ray's own included.
"""

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captured import captured
from measuring import tree_cpu_s

from pipeline.generation.spec import Precision

Made = dict[str, float]
"""images, wall_s and cpu_s of one request."""
FAR = 10**7  # more samples than any measurement makes


@dataclass(frozen=True, slots=True)
class Wanted:
    """What all cases are told."""

    folder: str
    batch: int
    steps: int
    best: bool
    precision: Precision
    device: str
    """cpu or cuda."""


def bare(w: Wanted) -> Callable[[int], Made]:
    """The network's forward passes alone, on one batch that stays where it is; on a GPU as a CUDA graph."""
    from pipeline.checkpoints import load_model
    from pipeline.networks.compiling import compile_network
    from pipeline.networks.layout import laid_out, lay_out
    from pipeline.runtime.heap import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    device = torch.device(w.device)
    model = load_model(w.folder, None).model.to(device)
    network = lay_out(model.network, device).eval()
    if w.best:
        compile_network(network, device)
    x = laid_out(torch.randn(w.batch, *model.config.image.shape, device=device))
    t = torch.full((w.batch,), 500, device=device)

    @torch.no_grad()
    def forward() -> None:
        with torch.autocast(w.device, torch.bfloat16, enabled=w.precision == "bf16", cache_enabled=False):
            network(x, t, None)

    once = captured(forward, device)

    def make(images: int) -> Made:
        begin, cpu = time.perf_counter(), time.process_time()
        for _ in range(images // w.batch * w.steps):
            once()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return {"images": images, "wall_s": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}

    return make


def job(w: Wanted) -> Callable[[int], Made]:
    """What jobs/generate.py does on one worker, its own dispatch, actors, encoding (PNG) and commits to disk; one part a batch.

    Planning is start-up: a job does it once."""
    from pipeline.plans.generate_config import GenerateConfig
    from pipeline.plans.generate_plan import plan_generation
    from pipeline.runtime.dispatch import Dispatch
    from pipeline.runtime.generate_run import claim_output
    from pipeline.runtime.generator import GeneratorArgs
    from pipeline.runtime.generator_pool import GeneratorPool
    from pipeline.runtime.hub import start_hub
    from pipeline.runtime.session import connect
    from pipeline.runtime.stopping import StopRequest
    from pipeline.samples import SampleSet

    os.environ["RAY_ADDRESS"] = "local"
    connect()
    output = tempfile.mkdtemp(prefix="swissroll-bench-")
    hub = start_hub("generate", 0, 0)
    pool: GeneratorPool | None = None
    total = 0

    def make(images: int) -> Made:
        nonlocal pool, total
        total += images
        config = GenerateConfig(
            checkpoint=w.folder, output=output, num_samples=total, sampler="ddim", sampler_steps=w.steps, num_workers=1,
            part_rows=w.batch, batch_rows=w.batch, compiled=w.best, precision=w.precision,
            accelerator="gpu" if w.device == "cuda" else "cpu",
        )  # fmt: skip
        plan = claim_output(plan_generation(config))
        if pool is None:
            args = GeneratorArgs(
                name="", checkpoint=plan.checkpoint, spec=plan.spec, conditions="", output=output,
                provenance=plan.run_spec(), fence=None, hub=hub.address,
            )  # fmt: skip
            pool = GeneratorPool(config, args, FAR)
        begin, cpu = time.perf_counter(), tree_cpu_s(os.getpid())
        Dispatch(plan, SampleSet(output).committed(), pool, hub.handle).run(StopRequest())
        return {"images": images, "wall_s": time.perf_counter() - begin, "cpu_s": tree_cpu_s(os.getpid()) - cpu}

    return make


class Peer:
    """What people write: diffusers' network and scheduler in an actor of Ray Data, warm before its first rows come.

    At its best it is channels last and compiled (on a GPU with CUDA graphs, and in the wanted precision), and leaves encoding to
    tasks of their own."""

    def __init__(self, w: Wanted, driver: int) -> None:
        from diffusers import DDIMScheduler, UNet2DModel

        torch.set_num_threads(1)
        self._w, self._driver, self._began = w, driver, None
        self._dtype = torch.bfloat16 if w.best and w.precision == "bf16" else torch.float32
        self._network = UNet2DModel.from_pretrained(f"{w.folder}/unet", torch_dtype=self._dtype).eval().to(w.device)
        if w.best:
            self._network.to(memory_format=torch.channels_last)
            self._network.compile(**({"mode": "reduce-overhead"} if w.device == "cuda" else {"dynamic": False}))
        self._scheduler = DDIMScheduler.from_pretrained(f"{w.folder}/scheduler")
        self._scheduler.set_timesteps(w.steps)
        config = self._network.config
        self._shape = config.in_channels, config.sample_size, config.sample_size
        for _ in range(3 if w.device == "cuda" else 1):  # graphs are recorded in the second call
            self._pixels(w.batch, 1)

    @torch.no_grad()
    def _pixels(self, rows: int, steps: int) -> np.ndarray:
        x = torch.randn(rows, *self._shape, device=self._w.device, dtype=self._dtype)  # the global generator, as usual
        for t in self._scheduler.timesteps[:steps]:
            x = self._scheduler.step(self._network(x, t.to(self._w.device)).sample, t, x).prev_sample
        return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, Any]:
        """A block of row numbers becomes PNG files, or, at its best, pixels."""
        if self._began is None:
            self._began = time.time(), tree_cpu_s(self._driver)
        pixels = self._pixels(len(rows["id"]), len(self._scheduler.timesteps))
        wall, cpu = (np.full(len(pixels), value) for value in self._began)
        made = {"id": rows["id"], "image": pixels, "began": wall, "cpu": cpu}
        return made if self._w.best else encoded(made)


def encoded(rows: dict[str, Any]) -> dict[str, Any]:
    """Pixels become PNG files."""
    from pipeline.generation import encode_png

    return {**rows, "image": [encode_png(one) for one in rows["image"]]}


def peer(w: Wanted) -> Callable[[int], Made]:
    """Ray Data `map_batches` with one actor and `write_parquet`; its clock begins at its first rows."""
    import pyarrow.parquet as pq
    import ray

    gpus = 1 if w.device == "cuda" else 0
    cpus = None if gpus else 2
    ray.init(address="local", include_dashboard=False, num_cpus=cpus, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)

    def make(images: int) -> Made:
        output = tempfile.mkdtemp(prefix="swissroll-bench-")
        data = ray.data.range(images, override_num_blocks=images // w.batch)
        made = data.map_batches(
            Peer,
            fn_constructor_args=(w, os.getpid()),
            batch_size=w.batch,
            compute=ray.data.ActorPoolStrategy(size=1),
            num_cpus=1,
            num_gpus=gpus,
        )
        if w.best:
            made = made.map_batches(encoded, batch_size=None, num_cpus=0.5)
        made.write_parquet(output)
        ended, cpu = time.time(), tree_cpu_s(os.getpid())
        files = [pq.read_table(file, columns=["began", "cpu"]) for file in Path(output).glob("*.parquet")]
        assert sum(len(file) for file in files) == images
        began, cpu_began = min((file["began"][0].as_py(), file["cpu"][0].as_py()) for file in files)
        return {"images": images, "wall_s": ended - began, "cpu_s": cpu - cpu_began}

    return make


def main(kind: str, folder: str, batch: str, steps: str, speed: str, precision: Precision, device: str) -> None:
    """Answers numbers of images, one a line, until 0."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    begin = time.perf_counter()
    cases: dict[str, Any] = {"bare": bare, "job": job, "peer": peer}
    make = cases[kind](Wanted(folder, int(batch), int(steps), speed == "best", precision, device))
    make(int(batch))
    print(json.dumps({"start_s": time.perf_counter() - begin}), file=answers, flush=True)
    for line in sys.stdin:
        if not int(line):
            break
        print(json.dumps(make(int(line))), file=answers, flush=True)
    os._exit(0)  # Ray's own children end with their parent; nothing is left to be saved


if __name__ == "__main__":
    main(*sys.argv[1:])  # pyright: ignore[reportArgumentType]
