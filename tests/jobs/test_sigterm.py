"""SIGTERM, sent to the job alone as `kill` does: one line, exit code 143, and the same command does the work."""

import signal
import time
from pathlib import Path

import pytest
from conftest import TRAIN
from job_runs import ROOT, Ended, Job, Place, checkpoint_steps


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


@pytest.mark.parametrize("what", ["worker", "loader"])
def test_training_that_waits_for_room_is_ended_by_the_first(alone: Place, shards: Path, tmp_path: Path, what: str) -> None:
    """For trainers, or with trainers for loaders: there is nobody who would hear a request, and nothing to save."""
    run = tmp_path / "run"
    command = ("train.py", *TRAIN, "--data", shards, "--run-dir", run)
    job = alone.start(*command, f"--workers.cpus-per-{what}", 10_000, "--workers.no-share-cpus")
    job.until(lambda: "have not started" in job.err(), "the warning that there is no room")
    time.sleep(3)  # the trainers of a job that waits for loaders may have their room by now
    job.signal(signal.SIGTERM)
    ended = job.wait()
    lines = [line for line in ended.err.splitlines() if "have not started" not in line and not line.startswith("warning:")]
    assert (ended.code, lines) == (143, ["stopped by SIGTERM; the same command continues"])
    assert checkpoint_steps(run) == []
