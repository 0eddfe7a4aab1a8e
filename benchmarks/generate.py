"""How much of the network's own speed does a generation job keep, and how does it compare with diffusers under Ray Data?

    python benchmarks/generate.py [--quick] [--size 32] [--batch 32] [--steps 8] [--images 96] [--turns 3] [--width 32] [--no-peer]
        [--no-compiled] [--no-plain] [--sink-only] [--together] [--cuda] [--precision fp32]

All cases have the same network (diffusers' U-Net), sampler (ddim) and steps, and one process with one thread that samples:

- bare: the network's forward passes alone, laid out as the job has it, nothing else, on one batch that stays where it is;
- job: all that jobs/generate.py does, with Ray: dispatch, noise, sampling in an actor, PNG, Parquet parts, commits to disk;
- peer: diffusers' network and DDIMScheduler in an actor of Ray Data, PNG, `write_parquet`; "as it comes" is the layout and the
  precision that diffusers' pipelines have, "at its best" is channels last, compiled, in --precision, with encoding in tasks of its own.

--cuda runs all of it on one GPU, where everything but the peer as it comes uses CUDA graphs; give it more work, for instance
--cuda --precision bf16 --size 64 --width 64 --batch 256 --steps 20 --images 4096.

The cases take turns; each lives in a process of its own and is warm before it is measured: start-up (Ray, imports, compiling) stands
in a column of its own. Every run is compared with the bare runs before and after it, compiled ones with compiled ones. Wall time on
a busy machine is noise; the CPU column, of the whole process tree with Ray's own processes, is less so.

The second table is the sink alone: encoding and committing 64x64 colour images to disk, as a share of one core at 2,000 a second.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from measuring import machine

from pipeline.generation import encoder
from pipeline.generation.encode import EXTENSIONS, ImageFormat
from pipeline.samples import PartRows, PartSuffix, SampleSet, encode_part

SINK_RATE_PER_S = 2000
TARGETS = "targets: job at least 97% of bare; at least 1.2x the peer as it comes (on CUDA 2x); raw at most 2% of a core"


@dataclass(slots=True)
class Case:
    """A case's process and what it was measured to take."""

    name: str
    kind: str
    speed: str
    """plain or best: compiled, and for the peer channels last."""
    options: tuple[str, str] = ("fp32", "cpu")
    """Precision and device."""
    process: subprocess.Popen[str] | None = None
    start_s: float = 0.0
    rates: list[float] = field(default_factory=list)
    """Images a second of wall time, one a turn."""
    cpu_ms: list[float] = field(default_factory=list)
    """CPU milliseconds an image."""

    def start(self, folder: str, batch: int, steps: int) -> None:
        """Starts the process."""
        script = Path(__file__).with_name("generate_cases.py")
        command = [sys.executable, str(script), self.kind, folder, str(batch), str(steps), self.speed, *self.options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def wait(self) -> None:
        """Returns when it is warm."""
        self.start_s = self._answer()["start_s"]

    def run(self, images: int) -> None:
        """Measures once."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{images}\n")
        self.process.stdin.flush()
        made = self._answer()
        self.rates.append(images / made["wall_s"])
        self.cpu_ms.append(made["cpu_s"] / images * 1e3)

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.communicate("0\n")

    def _answer(self) -> dict[str, float]:
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)


def save_model(folder: str, size: int, width: int) -> float:
    """Writes the benchmark's model as diffusers does, fresh weights; returns its millions of parameters."""
    from diffusers import DDIMScheduler, UNet2DModel

    network = UNet2DModel(
        sample_size=size, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=(width, 2 * width, 4 * width), norm_num_groups=32,
        attention_head_dim=32, down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    network.save_pretrained(f"{folder}/unet")
    DDIMScheduler(prediction_type="v_prediction").save_pretrained(f"{folder}/scheduler")
    return sum(p.numel() for p in network.parameters()) / 1e6


def sink_us(image_format: ImageFormat, suffix: PartSuffix, images: int) -> float:
    """Returns CPU microseconds an image, user and system, of encoding and committing parts of 1,000 rows."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 200, (1000, 8, 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    pixels = (coarse + rng.integers(0, 8, coarse.shape)).astype(np.uint8)
    encode = None if image_format == "raw" else encoder(image_format)
    with tempfile.TemporaryDirectory() as folder:
        samples = SampleSet(f"{folder}/set")
        samples.open({})
        begin = 0.0
        for first in range(0, images + 1000, 1000):
            begin = time.process_time() if first == 1000 else begin  # the first part loads libraries
            made = pixels if encode is None else [encode(one) for one in pixels]
            rows = PartRows(first=first, images=made, extension=EXTENSIONS[image_format])
            samples.commit(first, encode_part(rows, {}, suffix), 1000, suffix)
        return (time.process_time() - begin) / images * 1e6


def print_cases(cases: list[Case]) -> None:
    """The first table."""
    bare = {case.speed: case for case in cases if case.kind == "bare"}
    print(
        f"{'case':32} {'images/s':>9} {'of bare':>8} {'CPU ms/image':>13} {'of bare':>8} {'start-up s':>11}   images/s by turn"
    )
    for case in cases:
        reference = bare[
            case.speed if case.kind != "peer" and case.speed in bare else min(bare, key=lambda speed: speed == "best")
        ]
        around = [(before + after) / 2 for before, after in zip(reference.rates, reference.rates[1:], strict=False)]
        pairs = zip(case.rates, around, strict=False)
        ratio = 1.0 if case is reference else statistics.median(rate / whole for rate, whole in pairs)
        cpu, cpu_bare = statistics.median(case.cpu_ms), statistics.median(reference.cpu_ms)
        print(
            f"{case.name:32} {statistics.median(case.rates):9.2f} {ratio:8.1%} {cpu:13.2f} {cpu / cpu_bare:8.1%} "
            f"{case.start_s:11.1f}   {' '.join(f'{rate:.2f}' for rate in case.rates)}"
        )
    jobs, peers = ([case for case in cases if case.kind == kind] for kind in ("job", "peer"))
    for ours in jobs:
        for other in peers:
            wall = statistics.median(a / b for a, b in zip(ours.rates, other.rates, strict=True))
            cpu = statistics.median(b / a for a, b in zip(ours.cpu_ms, other.cpu_ms, strict=True))
            print(f"{ours.name} against {other.name}: {wall:.2f}x in wall time, {cpu:.2f}x in CPU time")


def print_sink(quick: bool) -> None:
    """The second table."""
    print(f"\n{'sink, 64x64x3':32} {'CPU us/image':>13} {f'of a core at {SINK_RATE_PER_S}/s':>22}")
    formats: list[tuple[ImageFormat, PartSuffix]] = [
        ("raw", "parquet"),
        ("jpeg", "parquet"),
        ("jpeg", "tar"),
        ("png", "parquet"),
    ]
    for image_format, suffix in formats:
        images = 1000 if quick else 20_000 if image_format == "raw" else 4000
        microseconds = statistics.median(sink_us(image_format, suffix, images) for _ in range(1 if quick else 3))
        print(f"{f'{image_format} in {suffix}':32} {microseconds:13.1f} {microseconds * SINK_RATE_PER_S / 1e6:22.1%}")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 32), ("images", 96), ("batch", 32), ("steps", 8), ("turns", 3), ("width", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-peer", action="store_true", help="leave diffusers under Ray Data out")
    parser.add_argument("--no-compiled", action="store_true", help="leave compiled cases out")
    parser.add_argument("--quick", action="store_true", help="see that it runs: 8x8, one turn of two small batches")
    parser.add_argument("--sink-only", action="store_true", help="the second table alone")
    parser.add_argument("--no-plain", action="store_true", help="leave bare and job out where they are not compiled")
    parser.add_argument(
        "--together", action="store_true", help="start all cases at once; start-up figures are of a busy machine then"
    )
    parser.add_argument("--cuda", action="store_true", help="on one GPU")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    given = parser.parse_args()
    if given.no_plain and given.no_compiled:
        parser.error("got --no-plain and --no-compiled, expected one of them: nothing of ours is left")
    if given.quick:
        given.size, given.images, given.batch, given.steps, given.turns = 8, 16, 8, 2, 1
    print("\n".join(machine(["torch", "diffusers", "ray", "pyarrow"])))
    if given.sink_only:
        print_sink(given.quick)
        return
    cases = [] if given.no_plain else [Case("bare", "bare", "plain"), Case("job", "job", "plain")]
    if not given.no_compiled:
        cases += [Case("bare, compiled", "bare", "best"), Case("job, --compiled", "job", "best")]
    if not given.no_peer:
        cases += [Case("peer, as it comes", "peer", "plain")]
        cases += [] if given.no_compiled else [Case("peer, at its best", "peer", "best")]
    for case in cases:
        case.options = given.precision, "cuda" if given.cuda else "cpu"
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        millions = save_model(folder, given.size, given.width)
        print(
            f"U-Net of {millions:.2f} M parameters, {given.size}x{given.size}x3, batch {given.batch}, {given.steps} steps of ddim, "
            f"{given.precision}{', one GPU' if given.cuda else ''}\n"
        )
        try:
            for case in cases:
                case.start(folder, given.batch, given.steps)
                if not given.together:
                    case.wait()
            for case in cases if given.together else []:
                case.wait()
            for _ in range(given.turns):
                for case in cases:
                    case.run(given.images)
            for case in cases:
                if case.kind == "bare":
                    case.run(given.images)
        finally:
            for case in cases:
                case.close()
    print_cases(cases)
    print_sink(given.quick)
    print(f"\n{TARGETS}; took {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
