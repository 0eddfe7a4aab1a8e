"""What does the driver of a generation do for a part? Its CPU time over many parts that take next to no time to sample.

    python benchmarks/driver.py [--parts 2000]

A model of 8x8 digits, a sampler of one step, parts of one row, one sampler process, on a Ray of its own: the driver hands out parts and notes
what comes back, and that is all that it does here. A job of few parts is subtracted from one of many, so that imports, planning and the end
of a job do not count.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import machine

JOBS = Path(__file__).parents[1] / "jobs"
FEW = 100


def job(script: str, *args: object) -> tuple[float, float]:
    """Runs a job; returns (CPU seconds of its own process, wall seconds)."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, JOBS / script, *map(str, args)], stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            sys.exit(log.read().decode())
    return used.ru_utime + used.ru_stime, time.perf_counter() - began


def main() -> None:
    """Prints one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=2000, help="parts of the longer job (default 2000)")
    many = parser.parse_args().parts
    print("\n".join(f"- {line}" for line in machine(["ray", "torch"])), flush=True)
    with tempfile.TemporaryDirectory(prefix="swissroll-bench-") as home:
        job("pack.py", "--images", "digits", "--output", f"{home}/shards")
        job("train.py", "digits", "--steps", 20, "--data", f"{home}/shards", "--run-dir", f"{home}/run")
        ray = [str(Path(sys.executable).with_name("ray"))]
        subprocess.run(
            [*ray, "start", "--head", "--port", "0", "--include-dashboard", "false"], check=True, stdout=subprocess.DEVNULL
        )
        try:
            few, more = (
                job(
                    "generate.py", "--checkpoint", f"{home}/run", "--output", f"{home}/{parts}", "--num-samples", parts,
                    "--part-rows", 1, "--batch-rows", 1, "--sampler-steps", 1, "--num-workers", 1,
                )
                for parts in (FEW, many)
            )  # fmt: skip
        finally:
            subprocess.run([*ray, "stop", "--force"], check=False, stdout=subprocess.DEVNULL)
    cpu_ms, wall_ms = (1000 * (more[i] - few[i]) / (many - FEW) for i in range(2))
    print(f"driver: {cpu_ms:.2f} ms of CPU a part; a part took {wall_ms:.1f} ms in all")


if __name__ == "__main__":
    main()
