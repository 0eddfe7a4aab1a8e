"""How fast is generation on one GPU, and how much of the time is spent outside the network? Needs neither Ray nor network.

    python benchmarks/generate_cuda.py [--size 64] [--batch 256] [--steps 20] [--batches 8] [--precision bf16] [--compiled] [--cpu]

Prints, for the same U-Net: images a second of the forward passes alone, of one batch after another through `ImageSampler` (noise, all
steps and the copy to the host, as one CUDA graph), and with encoding in threads; the FLOP/s of the forward passes, by torch's own
counter, as a share of the peak given by --peak-tflops; and the share of time outside the network. --cpu runs the same code paths
without a GPU, to see that the script works.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from measuring import machine
from torch.utils.flop_counter import FlopCounterMode

from pipeline.families import DiffusionConfig, SamplerConfig
from pipeline.generation import GenerationSpec, ImageSampler, encoder
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.networks.unet import to_channels_last


def timed(work, device: torch.device) -> float:
    """Returns the seconds that `work` and everything it started on the device take."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 64), ("batch", 256), ("steps", 20), ("batches", 8), ("threads", 8), ("width", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--peak-tflops", type=float, default=None, help="of the card in this precision, dense")
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
    x = torch.randn(given.batch, 3, given.size, given.size, device=device).contiguous(memory_format=torch.channels_last)
    t = torch.full((given.batch,), 500, device=device)

    @torch.no_grad()
    def forward() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=given.precision == "bf16"):
            model.network(x, t, None)

    to_channels_last(model.to(device).network).eval()
    with FlopCounterMode(display=False) as counter:  # before the sampler compiles the network, in which nothing can be counted
        forward()
    flops = counter.get_total_flops()
    sampler = ImageSampler(model, spec, device)
    images = given.batch * given.batches
    if device.type == "cuda":  # launches cost nothing in a graph, so the bare rate must not pay for them either
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                forward()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            forward()
        once = graph.replay
    else:
        once = forward
    start_up_s = timed(lambda: sampler.images(0, given.batch), device)
    bare_s = timed(lambda: [once() for _ in range(given.steps * given.batches)], device)
    sampled_s = timed(lambda: sampler.images(0, images), device)
    encode = encoder("png")

    def whole() -> None:
        with ThreadPoolExecutor(given.threads) as pool:
            waiting = []
            for number in range(given.batches):
                made = sampler.images(number * given.batch, given.batch)
                waiting.append(pool.map(encode, made))
            for files in waiting:
                list(files)

    whole_s = timed(whole, device)
    rate_tflops = flops * given.steps * given.batches / bare_s / 1e12
    print(f"first batch, capture and compilation included: {start_up_s:.1f} s\n")
    print(f"{'forward passes alone':32} {images / bare_s:10.1f} images/s  {rate_tflops:8.2f} TFLOP/s", end="")
    print(f"  {rate_tflops / given.peak_tflops:.1%} of peak" if given.peak_tflops else "")
    print(f"{'sampled, on the host':32} {images / sampled_s:10.1f} images/s  {1 - bare_s / sampled_s:8.1%} outside the network")
    print(f"{'sampled and encoded':32} {images / whole_s:10.1f} images/s  {1 - bare_s / whole_s:8.1%} outside the network")


if __name__ == "__main__":
    main()
