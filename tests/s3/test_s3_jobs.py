"""Pack, train, generate and verify with everything on a real S3 server, which is killed while they run."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ceph import BUCKET, CephServer

from pipeline import storage

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300.0
pytestmark = pytest.mark.timeout(1500)  # up to three jobs, one after another
STEPS, ROWS = 60, 400
STAY_DOWN_S = 2.0


@pytest.fixture(scope="module")
def environment(ceph: CephServer) -> Iterator[dict[str, str]]:
    """What jobs are started with: a local Ray each."""
    folder = tempfile.mkdtemp(prefix="swr-")  # short: Ray puts Unix sockets below it
    own = {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    yield {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | own
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(ceph: CephServer) -> str:
    """Where the jobs of this file work."""
    return f"s3://{BUCKET}/jobs"


class Job:
    """A job script that runs."""

    def __init__(self, environment: dict[str, str], script: str, *arguments: object) -> None:
        command = [sys.executable, str(ROOT / "jobs" / script), *map(str, arguments)]
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in ended)
        self._process = subprocess.Popen(command, env=environment, stdout=self._output, stderr=subprocess.STDOUT)

    def until(self, condition: Callable[[], object]) -> None:
        """Waits for what the running job brings about."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the job did not get there: {self.ended()}")
            time.sleep(0.1)

    def ended(self) -> tuple[int, str]:
        """Exit code and all that was said."""
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._output.seek(0)
        said = self._output.read()
        self._output.close()
        return code, said


def listed(url: str, ending: str) -> list[str]:
    return [found.url for found in storage.list_objects(url, recursive=True) if found.url.endswith(ending)]


def digests(url: str) -> dict[str, str]:
    """What every object below a URL holds, by its name from there."""
    found = storage.list_objects(url, recursive=True)
    assert found, url
    return {item.url.removeprefix(url): hashlib.sha256(storage.read_bytes(item.url)).hexdigest() for item in found}


def test_pack(environment: dict[str, str], folder: str):
    code, said = Job(environment, "pack.py", "--images", "digits", "--output", f"{folder}/data").ended()
    assert code == 0, said
    assert len(listed(f"{folder}/data", ".tar")) == 4


def test_training_survives_the_death_of_the_server(ceph: CephServer, environment: dict[str, str], folder: str):
    flags = ("--steps", STEPS, "--batch-size", 64, "--checkpoint-every-s", 0.5, "--num-loaders", 2)
    job = Job(environment, "train.py", "digits", *flags, "--data", f"{folder}/data", "--run-dir", f"{folder}/run")
    job.until(lambda: listed(f"{folder}/run/checkpoints", "checkpoint.json"))
    ceph.kill()
    time.sleep(STAY_DOWN_S)
    ceph.restart()
    code, said = job.ended()
    assert code == 0, said
    code, said = Job(
        environment, "train.py", "digits", *flags, "--data", f"{folder}/data", "--run-dir", f"{folder}/calm"
    ).ended()
    assert code == 0, said
    disturbed, calm = (digests(f"{folder}/{run}/checkpoints/step-{STEPS:09d}") for run in ("run", "calm"))
    # The state names the run's own folder, and the record has the state's digest.
    own = {"/checkpoint.json", "/training/state.json"}
    assert {name: data for name, data in disturbed.items() if name not in own} == {
        name: data for name, data in calm.items() if name not in own
    }
    assert {"/unet/diffusion_pytorch_model.safetensors", "/training/00000.safetensors"} <= disturbed.keys()


def test_generation_survives_the_death_of_the_gateway(ceph: CephServer, environment: dict[str, str], folder: str):
    flags = ("--num-samples", ROWS, "--part-rows", 20, "--batch-rows", 20, "--sampler-steps", 8)
    job = Job(environment, "generate.py", *flags, "--checkpoint", f"{folder}/run", "--output", f"{folder}/samples")
    job.until(lambda: listed(f"{folder}/samples/data", ".parquet"))
    ceph.kill_gateway()
    time.sleep(STAY_DOWN_S)
    ceph.restart()
    code, said = job.ended()
    assert code == 0, said
    code, said = Job(environment, "verify.py", f"{folder}/samples").ended()
    assert code == 0, said
    assert f"{ROWS:,} rows" in said
    calm = ("--checkpoint", f"{folder}/run", "--output", f"{folder}/calm-samples", "--num-workers", 1)
    code, said = Job(environment, "generate.py", *flags, *calm).ended()
    assert code == 0, said
    assert digests(f"{folder}/samples/data") == digests(f"{folder}/calm-samples/data")
