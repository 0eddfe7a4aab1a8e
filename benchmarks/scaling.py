"""How many images a second one consumer gets of so many processes, beside the peers: for machines with many cores, and GPUs.

    python benchmarks/scaling.py [--workers N ...] [--only NAME ...] [--device cuda]

The same JPEGs of 256x256 pixels, decoders and shuffling as in stream.py; all hand out batches of 256, which the consumer copies to
the GPU where one is given, from page-locked memory. The ceiling decodes in so many processes into memory that nobody takes.
"""

import argparse
import sys
import tempfile
from dataclasses import replace

import torch
from measuring import Case, machine
from pictures import KINDS, PEERS_PYTHON

NAMES = {
    "ceiling": "ceiling: decoding into reused buffers",
    "ours": "this stream",
    "litdata": "LitData (converted data)",
    "webdataset-best": "webdataset + DataLoader, best decoder",
    "mosaicml-streaming": "mosaicml-streaming (converted data)",
}
BATCH = 256


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[2, 4, 8], help="numbers of processes that decode")
    parser.add_argument("--images", type=int, default=12_000, help="images a run, for each process")
    parser.add_argument("--pictures", type=int, default=48_000, help="in the data set")
    parser.add_argument("--turns", type=int, default=3, help="runs of each case")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=list(NAMES), help="cases to run (default all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where batches go")
    given = parser.parse_args()
    print("\n".join(f"- {line}" for line in machine(["ray", "torch", "numpy", "simplejpeg"])), flush=True)
    print(f"- batches go to: {torch.cuda.get_device_name() if given.device == 'cuda' else given.device}", flush=True)
    pictures, found = replace(KINDS[0], count=given.pictures), dict[tuple[str, int], str]()
    with tempfile.TemporaryDirectory(prefix="swissroll-bench-") as home:
        folder = pictures.packed(f"{home}/jpg", given.only)
        for workers in given.workers:
            for name in given.only:
                case = Case(pictures.command(name, folder, more=[str(workers), str(BATCH), given.device]))
                try:
                    case.run(given.images * workers // 4)
                    runs = sorted(case.run(given.images * workers) for _ in range(given.turns))
                except RuntimeError as error:
                    print(f"{name}, {workers} workers, left out: {error}", file=sys.stderr, flush=True)
                    continue
                finally:
                    case.close()
                cpu_s, wall_s = (sorted(column)[len(runs) // 2] for column in zip(*runs, strict=True))
                found[name, workers] = f"{1 / wall_s:,.0f} ({cpu_s * 1e6:.0f})"
                print(f"{name}, {workers} workers: {found[name, workers]}", file=sys.stderr, flush=True)
    print("\nImages a second, and in brackets CPU microseconds an image.\n")
    print("| " + " | ".join(["", *(f"{workers} processes" for workers in given.workers)]) + " |")
    print("|---|" + "---:|" * len(given.workers))
    for name in given.only:
        print("| " + " | ".join([NAMES[name], *(found.get((name, workers), "-") for workers in given.workers)]) + " |")


if __name__ == "__main__":
    if not PEERS_PYTHON.exists():
        sys.exit(f"no environment of the peers at {PEERS_PYTHON}; `make bench` makes it and runs the other benchmark")
    main()
