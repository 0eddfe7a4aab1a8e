"""SIGTERM, sent to the job alone as `kill` does: one line, exit code 143, and the same command does the work."""

import signal
from pathlib import Path

from job_runs import ROOT, Ended, Job, Place


def stopped(job: Job, folder: Path, pattern: str) -> Ended:
    """How a job ends that gets SIGTERM once something in a folder matches."""
    job.until(lambda: list(folder.glob(pattern)), pattern)
    job.signal(signal.SIGTERM)
    return job.wait()


def told(ended: Ended) -> list[str]:
    """What it said beside its progress."""
    return [line for line in ended.err.splitlines() if not line.startswith("pack ")]


def test_packing_is_stopped_and_continued(alone: Place, tmp_path: Path) -> None:
    command = ("pack.py", "--images", "digits", "--output", tmp_path / "out", "--shard-size", 2)
    ended = stopped(alone.start(*command), tmp_path, "out/shard-00001?.tar")
    assert (ended.code, told(ended)) == (143, ["stopped by SIGTERM; the same command continues"])
    assert not (tmp_path / "out" / "index.json").exists()
    assert alone.run(*command).code == 0
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert len([name for name in names if name.endswith(".tar")]) == 899
    assert not [name for name in names if name.startswith(".")], "something half-written is left"


def test_a_job_hears_it_though_ray_takes_the_signal_for_itself(alone: Place, shards: Path, tmp_path: Path) -> None:
    program = tmp_path / "index.py"
    # Work that lasts: the headers of these shards would be read before the signal comes.
    program.write_text(f"""
import pathlib
import sys
import time

sys.path.insert(0, {str(ROOT)!r})
import ray
from jobs import index
from pipeline.runtime.job import run_job

def work(plan, progress):
    assert ray.is_initialized()
    pathlib.Path({str(tmp_path / "there")!r}).touch()
    time.sleep(600)

index.run_indexing = work
run_job(index.main)
""")
    command = (str(program), "--shards", shards, "--output", tmp_path / "out")
    ended = stopped(alone.start(*command), tmp_path, "there")
    assert (ended.code, told(ended)) == (143, ["stopped by SIGTERM; the same command continues"])
    assert not (tmp_path / "out").exists()
