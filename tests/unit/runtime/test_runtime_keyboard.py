"""The keyboard's stop: one line and exit code 1, whenever it comes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

JOBS = sorted(path.name for path in Path("jobs").glob("*.py") if "run_job(main)" in path.read_text())
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path.cwd())}


def stopped(command: list[str], ready: Callable[[int], bool], ignored: bool = False) -> tuple[int, str, str]:
    """How a command ends that is stopped when it is ready, which is asked with its process id."""
    action = signal.SIG_IGN if ignored else signal.default_int_handler
    before = signal.signal(signal.SIGINT, action)  # what it inherits
    try:
        job = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    while job.poll() is None and not ready(job.pid):
        time.sleep(0.005)
    job.send_signal(signal.SIGINT)
    out, err = job.communicate(timeout=250)
    return job.returncode, out, err


def imports_torch(pid: int) -> bool:
    """Whether a process has begun to load torch, and so is past Python's own start."""
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("job", ["generate.py", "train.py"])
def test_while_a_script_imports(job: str) -> None:
    code, out, err = stopped([sys.executable, f"jobs/{job}", "--help"], imports_torch)
    assert (code, out, err) == (1, "", "stopped by the keyboard; nothing was started\n")


def test_a_background_job_of_a_shell_goes_on() -> None:
    code, out, _ = stopped([sys.executable, "jobs/generate.py", "--help"], imports_torch, ignored=True)
    assert (code, out[:6]) == (0, "usage:")


def test_while_a_job_works(tmp_path: Path) -> None:
    there = tmp_path / "there"
    program = f"""
import atexit
import pathlib
import time
import pipeline.runtime.keyboard
from pipeline.runtime.job import run_job

def main():
    atexit.register(print, "the interpreter ends by itself")
    print("said before")
    try:
        pathlib.Path({str(there)!r}).touch()
        time.sleep(60)
    finally:
        print("cleared up")

run_job(main)
"""
    code, out, err = stopped([sys.executable, "-c", program], lambda _: there.exists())
    assert (code, out) == (1, "said before\ncleared up\n")
    assert err == "stopped by the keyboard; the same command continues\n"


def test_the_processes_of_a_job_leave_it_to_the_job(tmp_path: Path) -> None:
    """They import its script once more, and the keyboard signals all processes."""
    program = tmp_path / "program.py"
    program.write_text("""
import multiprocessing
import signal
import pipeline.runtime.keyboard

heard = signal.getsignal(signal.SIGINT)

def child():
    print(heard is signal.SIG_IGN)

if __name__ == "__main__":
    print(heard is signal.default_int_handler)  # no script of a job, only one that imports what they do
    one = multiprocessing.get_context("spawn").Process(target=child)
    one.start()
    one.join()
""")
    ended = subprocess.run([sys.executable, "-u", str(program)], env=ENVIRONMENT, text=True, capture_output=True, check=True)
    assert ended.stdout == "True\nTrue\n"


@pytest.mark.parametrize("job", JOBS)
def test_every_script_hears_it_from_its_first_import_of_ours_on(job: str) -> None:
    ours = re.findall(r"^(?:import|from) pipeline\S*", (Path("jobs") / job).read_text(), re.MULTILINE)
    assert ours[0] == "import pipeline.runtime.keyboard"
