"""Generation on a real S3 server: killed at random moments, taken over, two jobs at once; the same bytes each time.

Every round kills something else: a sampler, the whole job with SIGKILL, or the driver with SIGTERM. The seed is printed;
`CHAOS_ROUNDS` asks for more rounds and `CHAOS_SEED` repeats one.
"""

import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from ceph import BUCKET, CephServer

from pipeline import storage
from pipeline.checkpoints import save_checkpoint
from pipeline.models import Model
from pipeline.order import Cursor
from pipeline.plans.presets import preset
from pipeline.samples import verify
from pipeline.storage import honours_put_once
from pipeline.training import TrainState

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300.0
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))
pytestmark = pytest.mark.timeout(1500)  # nine jobs, one after another
PARTS = 15
GENERATE = ("--num-samples", 20 * PARTS, "--part-rows", 20, "--batch-rows", 20, "--sampler-steps", 8)


@pytest.fixture(scope="module")
def environment(ceph: CephServer) -> Iterator[dict[str, str]]:
    """What jobs are started with: a local Ray each."""
    folder = tempfile.mkdtemp(prefix="swr-")  # short: Ray puts Unix sockets below it
    own = {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    yield {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | own
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder on the local disk with a checkpoint of the digits preset, before its first step: how it was trained is not
    what these tests are about, see test_s3_jobs.py."""
    folder, config = tmp_path_factory.mktemp("checkpoint") / "run", preset("digits")
    torch.manual_seed(0)
    state = TrainState(Model(config.model), config.optim, torch.device("cpu"))
    save_checkpoint(
        str(folder),
        step=1,
        model=state.model,
        averages=state.averages,
        training_tensors=state.tensors(),
        cursor=Cursor(samples_consumed=64, fingerprint="f" * 32),
        config=config.to_json(),
        history=[],
    )
    return folder


_started: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Ends what a failed test left at work."""
    yield
    while _started:
        kill_session(_started.pop())


def start(environment: dict[str, str], script: str, *arguments: object) -> subprocess.Popen[bytes]:
    """A job in a session of its own, which everything it starts stays in."""
    command = [sys.executable, str(ROOT / "jobs" / script), *map(str, arguments)]
    _started.append(subprocess.Popen(command, env=environment, start_new_session=True))
    return _started[-1]


def kill_session(job: subprocess.Popen[bytes]) -> None:
    """SIGKILL to everything in the job's session, until nothing is left."""
    while found := [int(one.name) for one in Path("/proc").glob("[0-9]*") if _in_session(int(one.name), job.pid)]:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        job.poll()
        time.sleep(0.05)
    job.wait()


def kill_sampler(job: subprocess.Popen[bytes]) -> None:
    """SIGKILL to one of the job's samplers, where it has one."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if title.startswith(b"ray::Generator") and _in_session(int(folder.name), job.pid):
            os.kill(int(folder.name), signal.SIGKILL)
            return


def _in_session(pid: int, session: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(fields[3]) == session and fields[0] != "Z"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def committed(output: str) -> int:
    """Parts that are there."""
    return len(storage.list_objects(f"{output}/commits"))


def objects(url: str) -> dict[str, bytes]:
    """What must be the same, byte for byte, however a job was disturbed."""
    found = {one.url[len(url) + 1 :]: one.url for one in storage.list_objects(url, recursive=True)}
    kept = {name: url for name, url in found.items() if name.partition("/")[0] not in ("lease", "origin.json")}
    return {name: storage.read_bytes(url) for name, url in kept.items()}


def test_ceph_creates_objects_once(root: str) -> None:
    assert honours_put_once(root)
    assert storage.list_objects(root, recursive=True) == []


def test_killed_taken_over_and_two_at_once(environment: dict[str, str], checkpoint: Path) -> None:
    name = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    undisturbed, output = f"{name}/undisturbed", f"{name}/samples"
    command = ("generate.py", *GENERATE, "--checkpoint", checkpoint)
    assert start(environment, *command, "--output", undisturbed, "--num-workers", 1).wait(PATIENCE_S) == 0
    print(f"CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    for number in range(ROUNDS):
        before = committed(output)
        job = start(environment, *command, "--output", output, "--num-workers", chance.choice([1, 2]))
        wanted = min(before + chance.randint(1, 2), PARTS - 1)
        until(lambda wanted=wanted: committed(output) >= wanted)
        time.sleep(chance.uniform(0, 0.2))
        what = ("kill -9 of all", "SIGTERM", "kill -9 of a sampler and then of all")[(number + SEED) % 3]
        print(f"round {number}: {what} at {committed(output)} parts")
        if what == "SIGTERM":
            job.send_signal(signal.SIGTERM)
            time.sleep(chance.uniform(0, 3))  # a cluster kills after three seconds of grace
        elif "sampler" in what:
            kill_sampler(job)
            time.sleep(chance.uniform(0, 0.5))
        kill_session(job)
        assert committed(output) >= before, "committed parts were lost"
    # The killed job ran on this machine, so its lease is not waited for. Two jobs at once come next.
    first = start(environment, *command, "--output", output, "--num-workers", 2)
    wanted = min(committed(output) + 1, PARTS)
    until(lambda: committed(output) >= wanted)
    second = start(environment, *command, "--output", output)
    # Either may be the one that gets the lease; the other is refused, or finds all done if it was slow to start.
    assert sorted([first.wait(PATIENCE_S), second.wait(PATIENCE_S)]) in ([0, 2], [0, 0])
    assert objects(output) == objects(undisturbed)
    assert start(environment, "verify.py", output).wait(PATIENCE_S) == 0
    assert verify(output, processes=2) == verify(output, processes=1)
    assert start(environment, *command, "--output", output).wait(PATIENCE_S) == 0
