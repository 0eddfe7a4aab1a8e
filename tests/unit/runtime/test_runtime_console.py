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
        (raising(KeyboardInterrupt()), 1, "stopped by the keyboard; the same command continues\n"),
    ],
    ids=["done", "failed", "mistake", "other run", "damage", "full disk", "keyboard"],
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


@pytest.mark.parametrize("leaves", [True, False])
def test_a_reader_that_leaves_is_no_defect(leaves: bool) -> None:
    """As `train.py --help | head` does. Any other connection that breaks is one."""
    main = "print('x' * 100_000, flush=True)" if leaves else "raise BrokenPipeError"
    program = f"from pipeline.runtime.job import run_job\ndef main():\n    {main}\nrun_job(main)"
    read, write = os.pipe()
    with subprocess.Popen([sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, text=True) as job:
        os.close(write)
        if leaves:
            os.close(read)
        assert job.stderr is not None
        said = job.stderr.read()
    if not leaves:
        os.close(read)
    assert job.returncode == 1
    assert ("Traceback" in said) == (not leaves), said
