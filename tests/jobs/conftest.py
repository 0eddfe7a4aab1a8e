import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_runs import JobHere, Place

TRAIN = ("digits", "--steps", 60)


@pytest.fixture
def job_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> JobHere:
    return JobHere(monkeypatch, capfd)


@pytest.fixture(scope="session")
def alone() -> Iterator[Place]:
    """A place where no Ray runs: every job starts a local one of its own."""
    folder = tempfile.mkdtemp(prefix="swr-")  # short, as Ray puts Unix sockets below it, whose names may have 107 bytes
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    yield Place(env={**env, "RAY_TMPDIR": folder, "OMP_NUM_THREADS": "1"})
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shards(alone: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,797 digits of 8x8 pixels in four shards, packed by the job."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    packed = alone.run("pack.py", "--images", "digits", "--output", folder)
    assert packed.code == 0, packed
    return folder


@pytest.fixture(scope="session")
def trained(alone: Place, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training run that nothing disturbed."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = alone.run("train.py", *TRAIN, "--data", shards, "--run-dir", run)
    assert done.code == 0, done
    return run
