"""The benchmark that needs a GPU, on the CPU and tiny: that it runs, and that its table is complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ("--size", "8", "--batch", "2", "--steps", "2", "--batches", "2", "--width", "32", "--threads", "1", "--turns", "1")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_gpu_benchmark_runs_without_ray(precision: str) -> None:
    script = ROOT / "benchmarks" / "generate_cuda.py"
    program = f"import runpy, sys; sys.modules['ray'] = None; sys.argv = sys.argv[1:]; sys.path[0] = {str(script.parent)!r}; "
    program += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program, str(script), "--cpu", *TINY, "--precision", precision]
    command += ["--no-peer"] if precision == "bf16" else []  # which compiles
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    rows = re.findall(r"^(\S.*?) +([0-9.]+) +-?[0-9.]+% +[0-9.]+ ", ended.stdout, re.MULTILINE)
    peers = ["diffusers, as it comes", "diffusers, at its best"]
    assert [name for name, _ in rows] == ["forward passes alone", "sampled", "sampled and encoded", *peers][: len(rows)]
    assert len(rows) == (5 if precision == "fp32" else 3)
    assert all(float(rate) > 0 for _, rate in rows)
    ratios = re.findall(r"^sampled and encoded against (\S.*?): [0-9.]+x$", ended.stdout, re.MULTILINE)
    assert ratios == peers[: len(rows) - 3]
