"""How fast are a U-Net's forward pass and its training step on one GPU, by memory layout, precision and compiling?

    python benchmarks/network_cuda.py [--size 64] [--batch 256] [--train-batch 128] [--width 128] [--repeats 5] [--cpu]

Needs neither Ray nor network. Forward passes are captured as CUDA graphs, so that launches cost nothing; a training step is
`train_step` as jobs/train.py takes it (loss, backward, clipping, AdamW, averages), launched kernel by kernel. --cpu runs the same
code paths without a GPU, uncompiled, to see that the script works.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from captured import captured
from measuring import machine

from pipeline.families import DiffusionConfig
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig, layout
from pipeline.networks.compiling import compile_network
from pipeline.training import Batch, OptimConfig, TrainState
from pipeline.training.loop import train_step

LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def median_ms(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Returns the median time of a call, the device's work included."""
    took = []
    for turn in range(repeats + 2):
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn > 1:
            took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1e3


def forward_ms(config: ModelConfig, given: argparse.Namespace, device: torch.device, precision: str, compiled: bool) -> float:
    """A forward pass of a batch, by the clock."""
    network = layout.lay_out(Model(config).to(device).network, device).eval()
    if compiled:
        compile_network(network, device)
    x = layout.laid_out(torch.randn(given.batch, 3, given.size, given.size, device=device))
    t = torch.full((given.batch,), 500, device=device)

    @torch.no_grad()
    def forward() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            network(x, t, None)

    return median_ms(captured(forward, device), device, given.repeats)


def training_ms(config: ModelConfig, given: argparse.Namespace, device: torch.device, precision: str, compiled: bool) -> float:
    """A training step, by the clock."""
    optim = OptimConfig(warmup_steps=0, precision="bf16" if precision == "bf16" else "fp32", compiled=compiled)
    state, rows = TrainState(Model(config), optim, device), given.train_batch
    images = torch.randint(0, 256, (rows, given.size, given.size, 3), dtype=torch.uint8)
    numbers = torch.arange(rows)
    batch = Batch(images=images, labels=torch.zeros_like(numbers), samples=numbers, epochs=torch.zeros_like(numbers)).on(device)
    state.network.train()
    return median_ms(lambda: train_step(state, state.network, batch, 1), device, given.repeats)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 64), ("batch", 256), ("train-batch", 128), ("width", 128), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--cpu", action="store_true")
    given = parser.parse_args()
    device = torch.device("cpu" if given.cpu else "cuda")
    if not given.cpu and not torch.cuda.is_available():
        parser.error("got no CUDA device; --cpu runs without one")
    print("\n".join(machine(["torch", "diffusers"])))
    print(f"device: {torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}")
    widths = (given.width, 2 * given.width, 2 * given.width)
    network = UNetConfig(widths=widths, blocks=2, attention=(False, False, True))
    image = ImageConfig(size=given.size, channels=3, num_classes=0)
    config = ModelConfig(image=image, family=DiffusionConfig(), network=network)
    print(f"U-Net of widths {widths}, {given.size}x{given.size}x3\n")
    print(f"{'case':40} {f'forward, batch {given.batch}':>22} {f'training, batch {given.train_batch}':>24} {'peak GiB':>9}")
    for precision in ("fp32", "bf16"):
        for name, wanted in LAYOUTS.items():
            for compiled in (False, True)[: 1 if given.cpu else 2]:
                layout.layout_on = lambda device, wanted=wanted: wanted  # what the product decides by itself
                torch._dynamo.reset()
                ahead = forward_ms(config, given, device, precision, compiled)
                if device.type == "cuda":
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                step = training_ms(config, given, device, precision, compiled)
                peak = f"{torch.cuda.max_memory_allocated() / 2**30:9.1f}" if device.type == "cuda" else f"{'-':>9}"
                case = f"{precision}, {name}{', compiled' if compiled else ''}"
                rates = (
                    f"{ahead:10.1f} ms {given.batch / ahead * 1e3:7.0f}/s",
                    f"{step:11.1f} ms {given.train_batch / step * 1e3:8.0f}/s",
                )
                print(f"{case:40} {rates[0]:>22} {rates[1]:>24} {peak}", flush=True)


if __name__ == "__main__":
    main()
