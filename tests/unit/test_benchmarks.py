"""The benchmarks that need a GPU, on the CPU and tiny: that they run, and that their tables are complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEERS = ["diffusers, as it comes", "diffusers, at its best"]


def table_of(name: str, *flags: str) -> str:
    """What a benchmark prints, in a process that cannot import Ray."""
    script = ROOT / "benchmarks" / name
    program = f"import runpy, sys; sys.modules['ray'] = None; sys.argv = sys.argv[1:]; sys.path[0] = {str(script.parent)!r}; "
    program += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program, str(script), "--cpu", *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(("precision", "peers"), [("fp32", PEERS), ("bf16", [])])
def test_generation(precision: str, peers: list[str]) -> None:
    tiny = ["--size", "8", "--batch", "2", "--steps", "2", "--batches", "2", "--width", "32", "--threads", "1", "--turns", "1"]
    table = table_of("generate_cuda.py", *tiny, "--precision", precision, *([] if peers else ["--no-peer"]))
    rows = re.findall(r"^(\S.*?) +([0-9.]+) +-?[0-9.]+% +[0-9.]+ ", table, re.MULTILINE)
    assert [name for name, _ in rows] == ["forward passes alone", "sampled", "sampled and encoded", *peers]
    assert all(float(rate) > 0 for _, rate in rows)
    assert re.findall(r"^sampled and encoded against (\S.*?): [0-9.]+x$", table, re.MULTILINE) == peers


def test_networks() -> None:
    table = table_of(
        "network_cuda.py", *["--size", "8", "--batch", "2", "--train-batch", "2", "--width", "32", "--repeats", "1"]
    )
    rows = re.findall(r"^(\S.*?)  +[0-9.]+ ms +[0-9]+/s +[0-9.]+ ms +[0-9]+/s +-$", table, re.MULTILINE)
    assert rows == [f"{precision}, channels {place}" for precision in ("fp32", "bf16") for place in ("first", "last")]
