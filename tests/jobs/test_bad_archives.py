"""A chained URL whose container is no such archive: exit code 2 and one line, in every job that takes one."""

from pathlib import Path

import pytest
from job_runs import JobHere

URL = "zip://a.tar::{}/no.zip"


@pytest.mark.parametrize(
    "command",
    [
        ("index.py", "--shards", URL, "--output", "{}/out"),
        ("train.py", "digits", "--dry-run", "--data", URL, "--run-dir", "{}/out"),
        ("which.py", "digits", "--data", URL),
        ("pack.py", "--images", URL, "--output", "{}/out"),
        ("generate.py", "--checkpoint", URL, "--output", "{}/out", "--num-samples", "1"),
        ("evaluate.py", "--checkpoint", URL, "--data", URL),
        ("verify.py", URL),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("job_input", ["no.zip"])
def test_no_job_shows_a_traceback(job_here: JobHere, tmp_path: Path, command: tuple[str, ...], job_input: str):
    (tmp_path / job_input).write_bytes(b"no zip at all")
    ended = job_here(*(part.format(tmp_path) for part in command))
    line = ended.error_line()
    assert ended.code == 2, line
    assert line.startswith("error: ")
    assert "no.zip" in line
    assert not (tmp_path / "out").exists()
