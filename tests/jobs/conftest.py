import contextlib
import fcntl
import http.client
import os
import pickle
import random
import shutil
import socket
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from job_runs import JobHere, Place, Scraped

Made = TypeVar("Made")

STEPS = 60
BATCH_SIZE = 64
TRAIN = ("digits", "--steps", STEPS, "--batch-size", BATCH_SIZE, "--log-every-steps", 1)
ROWS, PART_ROWS = 600, 20
GENERATE = ("--num-samples", ROWS, "--part-rows", PART_ROWS, "--batch-rows", PART_ROWS, "--sampler-steps", 8)
# A sampler's start costs more CPU than all that it samples here: where their number is not the point, there is one.
BY_ONE = ("--num-workers", 1)


@pytest.fixture
def job_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> JobHere:
    return JobHere(monkeypatch, capfd)


@pytest.fixture(scope="session")
def alone() -> Iterator[Place]:
    """A place where no Ray runs: every job starts a local one of its own."""
    folder = tempfile.mkdtemp(prefix="swr-")  # short, as Ray puts Unix sockets below it, whose names may have 107 bytes
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    place = Place(env={**env, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"})
    yield place
    place.clear()
    shutil.rmtree(folder, ignore_errors=True)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What the first of pytest's processes to ask has made, below a folder that all of them share: no test changes it."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # each of several processes has one folder in it
    made = base / f"{name}.pickle"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            made.write_bytes(pickle.dumps(make(factory.mktemp(name))))
    return pickle.loads(made.read_bytes())


@pytest.fixture(scope="session")
def shards(alone: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,797 digits of 8x8 pixels in four shards, packed by the job."""

    def make(folder: Path) -> Path:
        packed = alone.run("pack.py", "--images", "digits", "--output", folder / "shards")
        assert packed.code == 0, packed
        return folder / "shards"

    return once(tmp_path_factory, "shards", make)


@pytest.fixture(scope="session")
def training(alone: Place, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Scraped:
    """Training on a local Ray, undisturbed."""

    def make(folder: Path) -> Scraped:
        run = folder / "run"
        # One checkpoint, at the end: on a slow day the preset's clock would add others on the way.
        return scraped(alone, run, "train.py", *TRAIN, "--data", shards, "--run-dir", run, "--checkpoint-every-s", 1000)

    return once(tmp_path_factory, "training", make)


@pytest.fixture(scope="session")
def trained(training: Scraped) -> Path:
    """The run folder of the undisturbed training."""
    return training.folder


@pytest.fixture(scope="session")
def generation(alone: Place, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Scraped:
    """Generation from the undisturbed training on a local Ray, undisturbed, by one sampler."""

    def make(folder: Path) -> Scraped:
        output = folder / "samples"
        return scraped(alone, output, "generate.py", *GENERATE, *BY_ONE, "--checkpoint", trained, "--output", output)

    return once(tmp_path_factory, "generation", make)


@pytest.fixture(scope="session")
def generated(generation: Scraped) -> Path:
    """The output of the undisturbed generation."""
    return generation.folder


def scraped(place: Place, folder: Path, script: str, *args: object) -> Scraped:
    """Runs a job to its end and reads its metrics all the while, as fast as they come."""
    port = free_port()
    done, scrapes = threading.Event(), []

    def scrape() -> None:
        while not done.wait(0.02):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
                    if answer.headers["Content-Length"]:  # else the job ended within its header, and nothing seems served
                        scrapes.append(text)
            except (OSError, http.client.HTTPException):
                continue  # not serving yet, or not any more

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        ended = place.run(script, *args, "--metrics-port", port)
    finally:
        done.set()
        thread.join()
    assert ended.code == 0, ended
    return Scraped(folder=folder, port=port, ended=ended, scrapes=scrapes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Ray cluster of one node, as `ray start --head` makes it."""

    place: Place
    """Jobs started here find the cluster through RAY_ADDRESS."""
    jobs_url: str
    """Where jobs are submitted."""


@pytest.fixture(scope="session")
def cluster(alone: Place) -> Iterator[Cluster]:
    port, dashboard, client, agent = (free_port() for _ in range(4))
    folder = tempfile.mkdtemp(prefix="swr-")
    scripts = Path(sys.executable).parent
    env = {**alone.env, "PATH": f"{scripts}:{os.environ['PATH']}"}  # submitted jobs say `python`
    head = Place(env=env).start_command(
        scripts / "ray", "start", "--head", "--block", "--disable-usage-stats", "--num-cpus", 2,
        "--object-store-memory", 300_000_000, "--temp-dir", folder, "--port", port, "--ray-client-server-port", client,
        "--include-dashboard", "true", "--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard,
        "--dashboard-agent-listen-port", agent,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{dashboard}"
        head.until(lambda: "Ray runtime started" in head.out() and _answers(f"{url}/api/version"), "the cluster's start")
        place = Place(env={**env, "RAY_ADDRESS": f"127.0.0.1:{port}"})
        yield Cluster(place=place, jobs_url=url)
        place.clear()
    finally:
        head.kill_all()
        shutil.rmtree(folder, ignore_errors=True)


# Neither those that a system gives to processes which name none, nor Ray's workers' (10002 to 19999): before a job binds the
# port that it was told, a Ray process would now and then have it.
_PORTS = iter(random.SystemRandom().sample(range(20_000, 32_000), 1000))


def free_port() -> int:
    """A port that nobody has, another one each time."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    pytest.fail("no port is free")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (OSError, http.client.HTTPException):
        return False
