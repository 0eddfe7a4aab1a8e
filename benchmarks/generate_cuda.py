"""How fast is generation on one GPU, how much of the time is spent outside the network, and how does it compare with diffusers?

    python benchmarks/generate_cuda.py [--size 64] [--batch 256] [--steps 20] [--batches 8] [--width 128] [--turns 3]
        [--precision bf16] [--compiled] [--peak-tflops 990] [--no-peer] [--cpu]

Needs neither Ray nor network. All cases have the same U-Net, sampler (ddim), steps and batch:

- forward passes alone: one forward pass captured as a CUDA graph, replayed; nothing else;
- sampled: `ImageSampler`: noise, all steps and the copy to the host, as one CUDA graph a batch;
- sampled and encoded: the same, and PNG files made by threads meanwhile, as a worker of jobs/generate.py does;
- diffusers, as it comes: its network in float32 and its DDIMScheduler in a loop, as its pipelines do, PNG by the same threads;
- diffusers, at its best: weights in bfloat16, channels last, `torch.compile(mode="reduce-overhead")`, which are CUDA graphs.

The cases take turns. FLOP/s are those of the forward passes by torch's own counter, --peak-tflops the card's in this precision, dense.
--cpu runs the same code paths without a GPU, to see that the script works; diffusers' network is not compiled there.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import torch
from captured import captured
from measuring import machine
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.families import DiffusionConfig, SamplerConfig
from pipeline.generation import GenerationSpec, ImageSampler, encoder
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.networks.layout import laid_out, lay_out

Pixels = Callable[[int], np.ndarray]
"""number of a batch -> its images, uint8 [B, H, W, C], on the host."""


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Returns the seconds that `work` and everything it started on the device take."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def peer(network: nn.Module, given: argparse.Namespace, device: torch.device, best: bool) -> Pixels:
    """What people write: diffusers' network and scheduler, a loop, and the pixels to the host."""
    from diffusers import DDIMScheduler

    network = network.to(device).eval()
    dtype = torch.bfloat16 if best else torch.float32
    if best:
        network.to(dtype=dtype, memory_format=torch.channels_last)
    if best and device.type == "cuda":
        network.compile(mode="reduce-overhead", fullgraph=True)
    scheduler = DDIMScheduler(prediction_type="v_prediction")
    scheduler.set_timesteps(given.steps)

    @torch.no_grad()
    def pixels(number: int) -> np.ndarray:
        x = torch.randn(given.batch, 3, given.size, given.size, device=device, dtype=dtype)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t.to(device)).sample, t, x).prev_sample
        return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    return pixels


def whole(pixels: Pixels, given: argparse.Namespace) -> None:
    """Batch after batch, encoded by threads while the next one is made."""
    encode = encoder("png")
    with ThreadPoolExecutor(given.threads) as pool:
        waiting = [pool.map(encode, pixels(number)) for number in range(given.batches)]
        for files in waiting:
            list(files)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("size", 64),
        ("batch", 256),
        ("steps", 20),
        ("batches", 8),
        ("threads", 8),
        ("width", 128),
        ("turns", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--peak-tflops", type=float, default=None, help="of the card in this precision, dense")
    parser.add_argument("--no-peer", action="store_true", help="leave diffusers' own loop out")
    parser.add_argument("--cpu", action="store_true")
    given = parser.parse_args()
    device = torch.device("cpu" if given.cpu else "cuda")
    if not given.cpu and not torch.cuda.is_available():
        parser.error("got no CUDA device; --cpu runs without one")
    print("\n".join(machine(["torch", "diffusers"])))
    print(f"device: {torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}")
    image = ImageConfig(size=given.size, channels=3, num_classes=0)
    widths = (given.width, 2 * given.width, 2 * given.width)
    network = UNetConfig(widths=widths, blocks=2, attention=(False, False, True))
    model = Model(ModelConfig(image=image, family=DiffusionConfig(), network=network), init_seed=0)
    spec = GenerationSpec(
        checkpoint_digest="", seed=0, sampler=SamplerConfig(name="ddim", steps=given.steps), guidance=1.0, labels=(),
        part_rows=given.batch, batch_rows=given.batch, precision=given.precision, compiled=given.compiled,
    )  # fmt: skip
    millions = sum(p.numel() for p in model.network.parameters()) / 1e6
    how = f"{given.precision}{', compiled' if given.compiled else ''}"
    print(
        f"U-Net of {millions:.1f} M parameters, {given.size}x{given.size}x3, batch {given.batch}, {given.steps} steps of ddim, {how}\n"
    )
    inner = model.network.inner
    peers = {} if given.no_peer else {"diffusers, as it comes": False, "diffusers, at its best": True}
    made: dict[str, Pixels] = {name: peer(deepcopy(inner), given, device, best) for name, best in peers.items()}
    x = laid_out(torch.randn(given.batch, 3, given.size, given.size, device=device))
    t = torch.full((given.batch,), 500, device=device)

    @torch.no_grad()
    def forward() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=given.precision == "bf16", cache_enabled=False):
            model.network(x, t, None)

    lay_out(model.to(device).network, device).eval()
    with FlopCounterMode(display=False) as counter:  # before the sampler compiles the network, in which nothing can be counted
        forward()
    flops = counter.get_total_flops()
    sampler = ImageSampler(model, spec, device)
    start_up_s = {"sampled": timed(lambda: sampler.images(0, given.batch), device)}
    start_up_s |= {name: timed(lambda pixels=pixels: [pixels(0), pixels(0)], device) for name, pixels in made.items()}
    once = captured(forward, device)
    images = given.batch * given.batches
    cases: dict[str, Callable[[], object]] = {
        "forward passes alone": lambda: [once() for _ in range(given.steps * given.batches)],
        "sampled": lambda: sampler.images(0, images),
        "sampled and encoded": lambda: whole(lambda number: sampler.images(number * given.batch, given.batch), given),
    }
    cases |= {name: lambda pixels=pixels: whole(pixels, given) for name, pixels in made.items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(given.turns + 1):
        for name, work in cases.items():
            took = timed(work, device)
            if turn:  # the first one is start-up, too
                seconds[name].append(took)
    print(f"{'case':28} {'images/s':>10} {'outside the network':>20} {'TFLOP/s':>9}   seconds by turn; start-up")
    bare_s = statistics.median(seconds["forward passes alone"])
    for name, found in seconds.items():
        took = statistics.median(found)
        rate_tflops = flops * given.steps * given.batches / took / 1e12
        peak = f" = {rate_tflops / given.peak_tflops:.1%} of peak" if given.peak_tflops else ""
        turns = " ".join(f"{one:.3f}" for one in found)
        start = f"; {start_up_s[name]:.1f}" if name in start_up_s else ""
        print(f"{name:28} {images / took:10.1f} {1 - bare_s / took:20.1%} {rate_tflops:9.2f}{peak}   {turns}{start}")
    for name in made:
        ratio = statistics.median(b / a for a, b in zip(seconds["sampled and encoded"], seconds[name], strict=True))
        print(f"sampled and encoded against {name}: {ratio:.2f}x")


if __name__ == "__main__":
    main()
