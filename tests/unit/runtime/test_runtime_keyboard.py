"""The keyboard's stop and SIGTERM: one line and an exit code of its own, whenever they come."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.runtime.stopping import Terminated, ended_by_sigterm, stop_on_sigterm

JOBS = sorted(path.name for path in Path("jobs").glob("*.py") if "run_job(main)" in path.read_text())
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path.cwd())}


KEYBOARD = signal.SIGINT, 1, "the keyboard"
SIGTERM = signal.SIGTERM, 143, "SIGTERM"


def stopped(
    command: list[str], ready: Callable[[int], bool], ignored: bool = False, number: signal.Signals = signal.SIGINT
) -> tuple[int, str, str]:
    """How a command ends that is stopped when it is ready, which is asked with its process id."""
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, signal.SIG_IGN if ignored else usual)  # what it inherits
    try:
        job = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(number, before)
    while job.poll() is None and not ready(job.pid):
        time.sleep(0.005)
    job.send_signal(number)
    out, err = job.communicate(timeout=250)
    return job.returncode, out, err


def imports_torch(pid: int) -> bool:
    """Whether a process has begun to load torch, and so is past Python's own start."""
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("stop", [KEYBOARD, SIGTERM], ids=["keyboard", "SIGTERM"])
@pytest.mark.parametrize("job", ["generate.py", "train.py"])
def test_while_a_script_imports(job: str, stop: tuple[signal.Signals, int, str]) -> None:
    number, expected, by = stop
    code, out, err = stopped([sys.executable, f"jobs/{job}", "--help"], imports_torch, number=number)
    assert (code, out, err) == (expected, "", f"stopped by {by}; nothing was started\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_background_job_of_a_shell_goes_on(number: signal.Signals) -> None:
    code, out, _ = stopped([sys.executable, "jobs/generate.py", "--help"], imports_torch, ignored=True, number=number)
    assert (code, out[:6]) == (0, "usage:")


@pytest.mark.parametrize("stop", [KEYBOARD, SIGTERM], ids=["keyboard", "SIGTERM"])
def test_while_a_job_works(tmp_path: Path, stop: tuple[signal.Signals, int, str]) -> None:
    number, expected, by = stop
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
    code, out, err = stopped([sys.executable, "-c", program], lambda _: there.exists(), number=number)
    assert (code, out) == (expected, "said before\ncleared up\n")
    assert err == f"stopped by {by}; the same command continues\n"


def test_a_second_sigterm_ends_a_job_that_clears_up_for_long(tmp_path: Path) -> None:
    there, clearing = tmp_path / "there", tmp_path / "clearing"
    program = f"""
import pathlib
import time
from pipeline.runtime.job import run_job

def main():
    try:
        pathlib.Path({str(there)!r}).touch()
        time.sleep(60)
    finally:
        pathlib.Path({str(clearing)!r}).touch()
        time.sleep(60)

run_job(main)
"""
    job = subprocess.Popen([sys.executable, "-c", program], env=ENVIRONMENT)
    while job.poll() is None and not there.exists():
        time.sleep(0.005)
    job.terminate()
    while job.poll() is None and not clearing.exists():
        time.sleep(0.005)
    while job.poll() is None:  # again and again: those that come at once belong to the first
        job.terminate()
        time.sleep(0.1)
    assert job.wait(timeout=60) == -signal.SIGTERM


def test_after_its_work_a_job_does_not_say_that_nothing_was_started(tmp_path: Path) -> None:
    there = tmp_path / "there"
    program = f"""
import pathlib
import sys
import time

sys.modules["__main__"].__file__ = "jobs/verify.py"
import pipeline.runtime.keyboard
from pipeline.runtime.job import run_job

def main():
    return 0

try:
    run_job(main)
finally:
    pathlib.Path({str(there)!r}).touch()
    time.sleep(60)
"""
    code, _, err = stopped([sys.executable, "-c", program], lambda _: there.exists(), number=signal.SIGTERM)
    assert (code, err) == (-signal.SIGTERM, "")


def test_sigterm_does_what_it_did_before_once_a_job_has_ended_and_where_it_asks_to_stop_it_asks() -> None:
    def nothing(number: int, frame: object) -> None:
        received.append(number)

    received: list[int] = []
    before = signal.signal(signal.SIGTERM, nothing)
    try:
        with ended_by_sigterm():
            with stop_on_sigterm() as stop:
                os.kill(os.getpid(), signal.SIGTERM)
                assert stop.is_set()
            with pytest.raises(Terminated):
                os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_is_told_from_the_keyboard_also_where_ray_waits() -> None:
    def waits() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Terminated:
            raise KeyboardInterrupt from None  # as `ray.get` does

    with pytest.raises(Terminated), ended_by_sigterm():
        waits()
    with pytest.raises(KeyboardInterrupt) as stop, ended_by_sigterm():
        raise KeyboardInterrupt
    assert not isinstance(stop.value, Terminated)


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
