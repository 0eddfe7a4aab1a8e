"""The processes that look at the parts of a large set: what becomes of them, and of the job, when one of them is killed."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sample_makers import finished_set

PROGRAM = """
import sys
from pathlib import Path
from pipeline.runtime.job import run_job
from pipeline.samples import verify
from pipeline.storage.local import LocalStore

# Further processes run this, too: there a pipe is waited for, as a file in a mount whose server is gone.
LocalStore.read_bytes = lambda self, path: Path(path).read_bytes()

def main():
    print(verify(sys.argv[1], processes=2).describe())
    return 0

if __name__ == "__main__":
    run_job(main)
"""
PATIENCE_S = 200.0


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A job that looks at a set with two processes, both at a part whose bytes never come, as from a server that is gone."""
    finished_set(str(tmp_path / "set"), 60, 10)
    pipes = [tmp_path / "set" / "data" / f"part-{first:012d}.parquet" for first in (10, 20)]
    for part in pipes:
        part.unlink()
        os.mkfifo(part)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(tmp_path / "set")]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True) as job:
        try:
            writers = [opened(pipe) for pipe in pipes]  # or they would read the end of a file
            yield job
            for writer in writers:
                os.close(writer)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)


def opened(pipe: Path) -> int:
    """A named pipe's end for writing, which there is once somebody has opened it to read."""
    found: list[int] = []

    def there() -> bool:
        try:
            found.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        return bool(found)

    until(there)
    return found[0]


def living(session: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(folder.name))
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_they_end_with_a_job_that_is_killed(stuck: subprocess.Popen[str]):
    stuck.kill()
    assert stuck.wait() == -signal.SIGKILL
    until(lambda: not living(stuck.pid))


def test_sigterm_stops_all_of_them_with_one_line(stuck: subprocess.Popen[str]):
    stuck.terminate()  # the job alone, as `kill` does
    _, said = stuck.communicate(timeout=PATIENCE_S)
    assert (stuck.returncode, said) == (143, "stopped by SIGTERM; the same command continues\n")
    until(lambda: not living(stuck.pid))


def test_the_keyboard_stops_all_of_them_with_one_line(stuck: subprocess.Popen[str]):
    os.killpg(stuck.pid, signal.SIGINT)  # as a terminal does
    _, said = stuck.communicate(timeout=PATIENCE_S)
    assert (stuck.returncode, said) == (1, "stopped by the keyboard; the same command continues\n")
    until(lambda: not living(stuck.pid))


def test_a_killed_one_ends_the_job_with_one_line(stuck: subprocess.Popen[str]):
    worker = next(pid for pid in living(stuck.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(worker, signal.SIGKILL)
    _, said = stuck.communicate(timeout=PATIENCE_S)
    assert said.startswith("failed: got a process that was killed while it looked at parts")
    assert (stuck.returncode, said.count("\n")) == (1, 1), said
    until(lambda: not living(stuck.pid))
