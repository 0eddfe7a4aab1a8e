"""How long does indexing take? Shards that nobody has indexed yet, on the local disk or an S3 server, one job over all.

    python benchmarks/index.py [--shards 10000] [--samples 100] [--s3]

Samples are what a tar of 28x28 PNGs holds: a member of a few hundred bytes and a label, so that headers are a third of all bytes. The
same job runs again with checksums, which read all bytes. The server runs on the same cores, and takes its share of them.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from measuring import machine
from s3_server import s3_server, upload

ROOT = Path(__file__).parents[1]
IMAGE_BYTES = 700


def write_shards(folder: Path, shards: int, samples: int) -> None:
    """Writes plain tars, as GNU tar would."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for shard in range(shards):
        with tarfile.open(folder / f"train-{shard:05d}.tar", "w") as archive:
            for sample in range(samples):
                key = f"{shard:05d}{sample:05d}"
                for name, data in ((f"{key}.png", draw.bytes(IMAGE_BYTES)), (f"{key}.cls", b"%d" % (sample % 10))):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def timed(shards: str, output: str, *flags: str) -> float:
    """Returns the seconds that the job takes, Ray's start included."""
    began = time.perf_counter()
    command = [sys.executable, "jobs/index.py", "--shards", shards, "--output", output, *flags]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, env={**os.environ, "COLUMNS": "160"})
    if ended.returncode:
        sys.exit(ended.stderr)
    print(ended.stdout, file=sys.stderr, flush=True)
    return time.perf_counter() - began


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=100, help="samples a shard")
    parser.add_argument("--s3", action="store_true", help="from an S3 server on this machine")
    given = parser.parse_args()
    print("\n".join(f"- {line}" for line in machine(["ray", "numpy"])), flush=True)
    with tempfile.TemporaryDirectory(prefix="swissroll-bench-") as home, s3_server() if given.s3 else nullcontext():
        write_shards(Path(home, "shards"), given.shards, given.samples)
        size = sum(path.stat().st_size for path in Path(home, "shards").iterdir())
        where = upload(f"{home}/shards")[0] if given.s3 else f"{home}/shards"
        rows = {
            "headers": timed(where, f"{home}/headers"),
            "all bytes, with checksums": timed(where, f"{home}/checksums", "--checksums"),
        }
    print(f"\n| {given.shards:,} shards, {given.shards * given.samples:,} samples, {size / 1e9:.1f} GB | seconds | shards/s |")
    print("|---|---:|---:|")
    for name, taken in rows.items():
        print(f"| {name} | {taken:.0f} | {given.shards / taken:,.0f} |")


if __name__ == "__main__":
    main()
