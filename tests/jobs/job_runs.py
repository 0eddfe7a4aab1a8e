"""Running the job scripts as a user does: inside this process where that is enough, or as processes of their own."""

import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0  # for a job that should end, or a file that should appear; reached only when something is broken


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended."""

    code: int
    out: str
    err: str

    def error_line(self) -> str:
        """The one line on standard error; anything more or less is a failure."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self
        return lines[0]


class JobHere:
    """Runs a script's main inside this process: no second import of torch. RAY_ADDRESS names a cluster that nobody has, so
    that a job which would connect or start one ends with another error than the one a test expects."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")

    def __call__(self, script: str, *args: object) -> Ended:
        self._monkeypatch.setattr(sys, "argv", [script, *map(str, args)])
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "jobs" / script), run_name="__main__")
        out, err = self._capfd.readouterr()
        assert isinstance(end.value.code, int), end.value.code
        return Ended(end.value.code, out, err)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where jobs run: the environment that decides which Ray they find."""

    env: dict[str, str]
    cwd: Path = ROOT

    def start(self, script: str, *args: object) -> subprocess.Popen[str]:
        """A job in a process group of its own."""
        return self.start_command(sys.executable, str(ROOT / "jobs" / script), *args)

    def start_command(self, *command: object) -> subprocess.Popen[str]:
        """Any command here, in a process group of its own."""
        return subprocess.Popen(
            [str(part) for part in command],
            env=self.env,
            cwd=self.cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str, *args: object) -> Ended:
        """A job from start to end."""
        return ended(self.start(script, *args))


def ended(job: subprocess.Popen[str]) -> Ended:
    """Waits for a job."""
    try:
        out, err = job.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        kill_group(job)
        out, err = job.communicate()
        pytest.fail(f"{job.args} did not end\n{out}\n{err}")
    return Ended(job.returncode, out, err)


@contextmanager
def running(job: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Kills the job's whole process group if a test leaves it behind."""
    try:
        yield job
    finally:
        kill_group(job)
        job.communicate()


def kill_group(job: subprocess.Popen[str]) -> None:
    """SIGKILL to every process that still is in the job's group."""
    try:
        os.killpg(job.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], object], job: subprocess.Popen[str], what: str) -> None:
    """Waits for a condition that a running job brings about."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if job.poll() is not None:
            out, err = job.communicate()
            pytest.fail(f"the job ended with {job.returncode} before: {what}\n{out}\n{err}")
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.02)


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of the checkpoints that are there, rising."""
    return sorted(int(found.parent.name.removeprefix("step-")) for found in run.glob("checkpoints/*/checkpoint.json"))


def commits(output: Path) -> list[str]:
    """Names of the committed parts."""
    return sorted(found.name for found in output.glob("commits/*") if re.fullmatch(r"\d{12}-.*", found.name))


def content(folder: Path, *names: str) -> dict[str, bytes]:
    """Every file below these entries of a folder, by its path in the folder."""
    found = (file for name in names for file in [folder / name, *(folder / name).rglob("*")] if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}
