"""What a job says at its end: tables, outcomes, one line for a mistake, and the exit code."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError, ResumeMismatch
from pipeline.runtime.console import say, say_table, warn, write_summary
from pipeline.runtime.job import run_job


def test_a_table_lines_up_and_never_wraps(capsys: pytest.CaptureFixture[str]) -> None:
    long_path = "/a" * 300
    say_table("Title", [("one", "1"), ("longer name", long_path), ("", "more")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["Title", "  one          1", f"  longer name  {long_path}", "               more"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_names_that_the_terminal_cannot_show_are_escaped(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for stream, show in (("stdout", say), ("stderr", warn)):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(raw, encoding))
        show("na\udcefve \u4e2d")
        shown = raw.getvalue().decode(encoding)
        assert shown == "na\\udcefve \u4e2d\n" if encoding == "utf-8" else shown == "na\\udcefve \\u4e2d\n"


@dataclass(frozen=True)
class Outcome:
    step: int
    finished: bool
    rate: float


def test_an_outcome_is_written_as_json_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "new" / "summary.json"
    for step in (1, 2):
        write_summary(str(file), Outcome(step, True, 0.5))
        assert json.loads(file.read_text()) == {"step": step, "finished": True, "rate": 0.5}
    write_summary(str(file), [Outcome(3, True, 0.5)])
    assert json.loads(file.read_text()) == [{"step": 3, "finished": True, "rate": 0.5}]
    write_summary(None, Outcome(3, True, 0.5))
    assert list(tmp_path.rglob("*.json")) == [file]


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code", "said"),
    [
        (lambda: 0, 0, ""),
        (lambda: 1, 1, ""),
        (raising(ConfigError("steps: got 0")), 2, "error: steps: got 0\n"),
        (raising(ResumeMismatch("another run")), 2, "error: another run\n"),
        (raising(CorruptDataError("bad", "a.tar", 3)), 1, "failed: bad (a.tar at byte 3)\n"),
        (raising(PermanentStorageError("No space left", "/x")), 1, "failed: No space left (/x)\n"),
    ],
    ids=["done", "failed", "mistake", "other run", "damage", "full disk"],
)
def test_a_job_ends_with_one_line_and_its_code(
    capsys: pytest.CaptureFixture[str], main: Callable[[], int], code: int, said: str
) -> None:
    with pytest.raises(SystemExit) as end:
        run_job(main)
    assert end.value.code == code
    assert capsys.readouterr() == ("", said)


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_job(raising(ZeroDivisionError()))


@pytest.mark.parametrize("output", ["nobody reads", "full disk", "closed"])
@pytest.mark.parametrize("code", [0, 1])
def test_a_job_whose_output_goes_nowhere_does_its_work(tmp_path: Path, output: str, code: int) -> None:
    """As in `train.py --help | head`, and for a log on a full disk: the work counts, and the end is silent, too."""
    program = f"""
import logging
import pathlib
import sys
from pipeline.runtime.console import say, warn
from pipeline.runtime.job import run_job
from pipeline.telemetry import ProgressPoint, ProgressReporter

def main():
    say("x" * 100_000)
    warn("a warning")
    logging.getLogger("x").warning("another")
    with ProgressReporter("train", "step", interval_s=0) as reporter:
        for done in range(3):
            reporter.update(ProgressPoint(done=done, total=3))
    print("y" * 100_000)
    print("not flushed", end="")
    print("not flushed", end="", file=sys.stderr)
    pathlib.Path("done").touch()
    return {code}

run_job(main)
"""
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    if output == "nobody reads":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open("/dev/full", os.O_WRONLY)
    if output == "closed":
        command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
    job = subprocess.run(command, stdout=write, stderr=write, cwd=tmp_path, env=environment, check=False)
    os.close(write)
    assert job.returncode == code
    assert (tmp_path / "done").exists()


def test_what_cannot_be_printed_on_one_stream_leaves_the_other_alone(tmp_path: Path) -> None:
    program = (
        "from pipeline.runtime.job import run_job\ndef main():\n    print('lost')\n    raise BrokenPipeError\nrun_job(main)"
    )
    with Path("/dev/full").open("w") as full:
        job = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert job.returncode == 1
    assert job.stderr.count("Traceback") == 1, job.stderr  # a connection of the work's own that breaks is a defect
    assert "lost" not in job.stderr


def test_lines_are_whole_and_in_order(tmp_path: Path) -> None:
    """Also those that a library prints itself, and in the encoding that was asked for."""
    program = (
        "from pipeline.runtime.job import run_job\nfrom pipeline.runtime.console import say, warn\ndef main():\n"
        "    print('one'); say('two \\u4e2d \\u00e9'); warn('three'); print('four'); return 0\nrun_job(main)"
    )
    for encoding, second in (("utf-8", "two \u4e2d \u00e9"), ("latin-1", "two \\u4e2d \u00e9")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": "1"}
        job = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False
        )
        assert job.returncode == 0
        assert job.stdout.decode(encoding).splitlines() == ["one", second, "three", "four"]
