"""Running the job scripts as a user does: inside this process where that is enough, or as processes of their own."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
import ray

ROOT = Path(__file__).parents[2]
RAYLET = Path(ray.__file__).parent / "core/src/ray/raylet/raylet"
PATIENCE_S = 300.0  # for a job that should end, or for what it should do; reached only when something is broken


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


class Job:
    """A command that runs, in a session of its own, which everything it starts stays in. Output goes to files: a pipe would
    be held open by whatever outlives the command."""

    def __init__(self, command: tuple[object, ...], env: dict[str, str], cwd: Path) -> None:
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (see _close)
        self._process = subprocess.Popen(
            [str(part) for part in command], env=env, cwd=cwd, stdout=self._out, stderr=self._err, start_new_session=True
        )

    def out(self) -> str:
        """What it said on standard output so far."""
        return _content(self._out.fileno())

    def err(self) -> str:
        """What it said on standard error so far."""
        return _content(self._err.fileno())

    def wait(self) -> Ended:
        """How it ended; fails the test where it does not."""
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._fail("did not end")
        ended = Ended(code, self.out(), _content(self._err.fileno()))
        self._close()
        return ended

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits for what the running job brings about."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self._process.poll() is not None:
                self._fail(f"ended with {self._process.returncode} before: {what}")
            if time.monotonic() > deadline:
                self._fail(f"was waited for in vain: {what}")
            time.sleep(0.02)

    def signal_worker(self, title: str, number: signal.Signals) -> int:
        """A signal to one process of the local Ray, by the class of its actor; waits for one to be there, returns its pid."""
        signalled: list[int] = []

        def signal_one() -> bool:
            for pid in session_members(self._process.pid, f"ray::{title}")[:1]:
                with contextlib.suppress(ProcessLookupError):  # ended since; another may come
                    os.kill(pid, number)
                    signalled.append(pid)
            return bool(signalled)

        self.until(signal_one, f"a {title}")
        return signalled[0]

    def kill_worker(self, title: str) -> None:
        """SIGKILL to one process of the local Ray, by the class of its actor; waits for one to be there."""
        self.signal_worker(title, signal.SIGKILL)

    def kill_raylet(self) -> None:
        """SIGKILL to what runs the local Ray's processes, all of which end with it."""
        raylets = session_members(self._process.pid, str(RAYLET))
        os.kill(min(raylets), signal.SIGKILL)  # what it has just forked goes by its name for a moment

    def signal_group(self, number: signal.Signals) -> None:
        """A signal to the command's process group, as `timeout` and shells send it."""
        os.killpg(self._process.pid, number)

    def signal(self, number: signal.Signals) -> None:
        """A signal to the command itself."""
        self._process.send_signal(number)

    def kill_all(self) -> None:
        """SIGKILL to everything in the session, until nothing is left."""
        kill_session(self._process.pid)
        self._process.wait()
        self._close()

    def _fail(self, problem: str) -> NoReturn:
        said = f"{self.out()}\n{_content(self._err.fileno())}"
        self.kill_all()
        pytest.fail(f"{self._process.args} {problem}\n{said}")

    def _close(self) -> None:
        self._out.close()
        self._err.close()


def _content(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()


def kill_session(session: int) -> None:
    """SIGKILL to everything in a session, until nothing is left."""
    while found := session_members(session):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def session_members(session: int, title: str = "") -> list[int]:
    """The living processes of a session whose command line begins with `title`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_session) == session and state != "Z" and command.startswith(title):
            found.append(int(folder.name))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where jobs run: the environment that decides which Ray they find."""

    env: dict[str, str]
    cwd: Path = ROOT
    started: list[Job] = field(default_factory=list)

    def start(self, script: str, *args: object) -> Job:
        """A job as a process of its own."""
        return self.start_command(sys.executable, ROOT / "jobs" / script, *args)

    def start_command(self, *command: object) -> Job:
        """Any command."""
        job = Job(command, self.env, self.cwd)
        self.started.append(job)
        return job

    def clear(self) -> None:
        """Ends what a failed test left running."""
        for job in self.started:
            job.kill_all()

    def run(self, script: str, *args: object) -> Ended:
        """A job from start to end."""
        return self.start(script, *args).wait()


def checkpoint_steps(run: Path) -> list[int]:
    """Steps of the checkpoints that are there, rising."""
    return sorted(int(found.parent.name.removeprefix("step-")) for found in run.glob("checkpoints/*/checkpoint.json"))


def commits(output: Path) -> list[str]:
    """Names of the committed parts."""
    return sorted(found.name for found in output.glob("commits/[0-9]*"))


def content(folder: Path, *names: str) -> dict[str, bytes]:
    """Every file at or below these entries of a folder, by its path in the folder."""
    found = [file for name in names for file in [folder / name, *(folder / name).rglob("*")] if file.is_file()]
    assert found, folder
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


# What must be the same, byte for byte, however a job was started and disturbed.
SET = ("data", "commits", "manifest.json", "run.json", "README.md")


def trained_weights(run: Path, step: int) -> dict[str, bytes]:
    """The files of a checkpoint that are a function of configuration and step alone (state.json names the run's folder)."""
    return content(
        run / "checkpoints" / f"step-{step:09d}",
        "unet",
        "scheduler",
        "network.safetensors",
        "model.json",
        "ema",
        "ema.json",
        "training/00000.safetensors",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """A job that ran undisturbed, and what its metrics endpoint served meanwhile."""

    folder: Path
    """Its run folder or output."""
    port: int
    """The port it was told to serve on."""
    ended: Ended
    """How it ended."""
    scrapes: list[str]
    """What was scraped, oldest first."""
