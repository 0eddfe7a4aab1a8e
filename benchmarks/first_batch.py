"""How long until the first batch? From the moment a loop asks for it, and from the moment its loaders are up.

    python benchmarks/first_batch.py [--turns 5]

A cluster that is up, 6,000 JPEGs of 256x256 pixels in 12 shards, batches of 256, 2 loaders. Every turn makes a new stream with new
loader actors; the first step is another one each time, so that nothing is at hand. The peer is a DataLoader of 2
processes over webdataset's own pipeline, with the same decoder, in an environment of its own (`make bench` makes it).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

import ray
from measuring import machine
from pictures import HERE, KINDS, PEERS_PYTHON

from pipeline.runtime.session import ray_session
from pipeline.runtime.stream import stream
from pipeline.stream import ImageSpec, StreamConfig


def ours(folder: str, turn: int) -> tuple[float, float]:
    """Returns (seconds from the call to the first batch, seconds from both loaders being up to the first batch)."""
    image = ImageSpec(size=256, channels=3, num_classes=1000)
    asked = time.perf_counter()
    with stream(folder, image, StreamConfig(batch_size=256), seed=turn, num_loaders=2, cpus_per_loader=0.9) as source:
        ray.get([loader.report.remote() for loader in source._loaders])
        up = time.perf_counter()
        next(iter(source))
        got = time.perf_counter()
    return got - asked, got - up


def peer(folder: str) -> float:
    """Returns seconds from the DataLoader's making to its first batch, all modules imported."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import serving, webdataset, torch.utils.data, stream_peers\n"
        "setting = serving.Setting.parse([sys.argv[2], 'jpg', '256', '2', '256', 'cpu'])\n"
        "begin = time.perf_counter(); next(stream_peers.webdataset_best(setting))\n"
        "print(time.perf_counter() - begin)"
    )
    return float(subprocess.check_output([PEERS_PYTHON, "-c", code, str(HERE), folder], text=True))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    if not PEERS_PYTHON.exists():
        sys.exit(f"no environment of the peers at {PEERS_PYTHON}; `make bench` makes it")
    print("\n".join(f"- {line}" for line in machine(["ray", "torch"])), flush=True)
    with tempfile.TemporaryDirectory(prefix="swissroll-bench-") as home:
        folder = KINDS[0].packed(f"{home}/jpg", ())
        peers = [peer(folder) for _ in range(given.turns)]
        with ray_session():
            found = [ours(folder, turn) for turn in range(given.turns)]
    rows = {
        "this stream, loaders up": [up for _, up in found],
        "this stream, from the call (starts its loaders)": [call for call, _ in found],
        "webdataset + DataLoader, from the call": peers,
    }
    print("\n| first batch | seconds, median | all |\n|---|---:|---|")
    for name, times in rows.items():
        print(f"| {name} | {statistics.median(times):.2f} | {' '.join(f'{one:.2f}' for one in times)} |")


if __name__ == "__main__":
    main()
