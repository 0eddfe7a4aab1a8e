"""The measured side of `generate.py`: each case is a process that makes as many images as it is asked for, and waits in between.

    python benchmarks/generate_cases.py {bare,job,peer} FOLDER BATCH STEPS {plain,best}

FOLDER is a model as diffusers saves it, the same for all cases. Start-up is over when the first line is answered; every later answer
has the images, the wall seconds and the CPU seconds of this process and all its descendants, Ray's own included.
"""

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import tree_cpu_s

Made = dict[str, float]
"""images, wall_s and cpu_s of one request."""
FAR = 10**7  # more samples than any measurement makes


def bare(folder: str, batch: int, steps: int, compiled: bool) -> Callable[[int], Made]:
    """The network's forward passes alone, on one batch that stays where it is."""
    from pipeline.checkpoints import load_model
    from pipeline.generation.compiling import compile_network
    from pipeline.networks.unet import to_channels_last
    from pipeline.runtime.heap import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    model = load_model(folder, None).model
    network = to_channels_last(model.network).eval()
    if compiled:
        compile_network(network, torch.device("cpu"))
    x = torch.randn(batch, *model.config.image.shape).contiguous(memory_format=torch.channels_last)
    t = torch.full((batch,), 500)

    @torch.no_grad()
    def make(images: int) -> Made:
        begin, cpu = time.perf_counter(), time.process_time()
        for _ in range(images // batch * steps):
            network(x, t, None)
        return {"images": images, "wall_s": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}

    return make


def job(folder: str, batch: int, steps: int, compiled: bool) -> Callable[[int], Made]:
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
            checkpoint=folder, output=output, num_samples=total, sampler="ddim", sampler_steps=steps, num_workers=1,
            part_rows=batch, batch_rows=batch, compiled=compiled,
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
    """What people write: diffusers' network and scheduler in an actor of Ray Data, warm before its first rows come."""

    def __init__(self, folder: str, batch: int, steps: int, best: bool, driver: int) -> None:
        from diffusers import DDIMScheduler, UNet2DModel

        torch.set_num_threads(1)
        self._network = UNet2DModel.from_pretrained(f"{folder}/unet").eval()
        if best:
            self._network.to(memory_format=torch.channels_last).compile(dynamic=False)
        self._scheduler = DDIMScheduler.from_pretrained(f"{folder}/scheduler")
        self._scheduler.set_timesteps(steps)
        self._driver, self._began = driver, None
        config = self._network.config
        self._shape = config.in_channels, config.sample_size, config.sample_size
        self._pixels(batch, 1)

    @torch.no_grad()
    def _pixels(self, rows: int, steps: int) -> np.ndarray:
        x = torch.randn(rows, *self._shape)  # the global generator, as usual
        for t in self._scheduler.timesteps[:steps]:
            x = self._scheduler.step(self._network(x, t).sample, t, x).prev_sample
        return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[object]]:
        """A block of row numbers becomes PNG files."""
        from pipeline.generation import encode_png

        if self._began is None:
            self._began = time.time(), tree_cpu_s(self._driver)
        images = [encode_png(one) for one in self._pixels(len(rows["id"]), len(self._scheduler.timesteps))]
        wall, cpu = ([value] * len(images) for value in self._began)
        return {"id": list(rows["id"]), "image": images, "began": wall, "cpu": cpu}


def peer(folder: str, batch: int, steps: int, best: bool) -> Callable[[int], Made]:
    """Ray Data `map_batches` with one actor and `write_parquet`; its clock begins at its first rows."""
    import pyarrow.parquet as pq
    import ray

    ray.init(address="local", include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)

    def make(images: int) -> Made:
        output = tempfile.mkdtemp(prefix="swissroll-bench-")
        data = ray.data.range(images, override_num_blocks=images // batch)
        given = (folder, batch, steps, best, os.getpid())
        made = data.map_batches(
            Peer, fn_constructor_args=given, batch_size=batch, compute=ray.data.ActorPoolStrategy(size=1), num_cpus=1
        )
        made.write_parquet(output)
        ended, cpu = time.time(), tree_cpu_s(os.getpid())
        files = [pq.read_table(file, columns=["began", "cpu"]) for file in Path(output).glob("*.parquet")]
        assert sum(len(file) for file in files) == images
        began, cpu_began = files[0]["began"][0].as_py(), files[0]["cpu"][0].as_py()
        return {"images": images, "wall_s": ended - began, "cpu_s": cpu - cpu_began}

    return make


def main(kind: str, folder: str, batch: str, steps: str, speed: str) -> None:
    """Answers numbers of images, one a line, until 0."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    begin = time.perf_counter()
    cases: dict[str, Any] = {"bare": bare, "job": job, "peer": peer}
    make = cases[kind](folder, int(batch), int(steps), speed == "best")
    make(int(batch))
    print(json.dumps({"start_s": time.perf_counter() - begin}), file=answers, flush=True)
    for line in sys.stdin:
        if not int(line):
            break
        print(json.dumps(make(int(line))), file=answers, flush=True)
    os._exit(0)  # Ray's own children end with their parent; nothing is left to be saved


if __name__ == "__main__":
    main(*sys.argv[1:])
