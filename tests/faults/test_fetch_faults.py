"""Ranged reads from a server process that cuts, delays, lies about lengths, throttles, hangs and changes its objects."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flaky import FlakyServer

from pipeline import storage
from pipeline.errors import PermanentStorageError, TransientStorageError
from pipeline.storage import http_client, ranges, remote, retry, stalls, web_ranges
from pipeline.storage.pace import Paces

SIZE = 3_000_000


@pytest.fixture
def content(flaky: FlakyServer) -> bytes:
    """What the served object `o` holds."""
    data = random.Random(0).randbytes(SIZE)
    (flaky.folder / "o").write_bytes(data)
    return data


@pytest.fixture(params=["s3", "http"])
def url(request: pytest.FixtureRequest, flaky: FlakyServer) -> str:
    """The object `o`, through each client."""
    return "s3://bucket/o" if request.param == "s3" else f"{flaky.http_url}/bucket/o"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same behavior in less time: silence and pauses are shortened, nothing else."""
    hurried = retry.RetryPolicy(first_delay_s=0.01, longest_delay_s=0.2, total_s=30.0)
    monkeypatch.setattr(ranges.fetch_range, "__defaults__", ("", hurried))
    monkeypatch.setattr(retry, "paces", Paces(time.monotonic))
    give_up_after(monkeypatch, 1.0, 1.5)


@pytest.fixture
def less_hurry(monkeypatch: pytest.MonkeyPatch, in_a_hurry: None) -> None:
    """For tests that count what was given up: a server that is slow, because the machine is, must not be."""
    give_up_after(monkeypatch, 3.0, 3.0)


def give_up_after(monkeypatch: pytest.MonkeyPatch, silence_s: float, stall_s: float) -> None:
    monkeypatch.setattr(remote, "_HTTP", http_client.HttpClient(silence_s, silence_s))
    monkeypatch.setattr(remote, "_S3", web_ranges.S3Client(silence_s, silence_s))
    monkeypatch.setattr(stalls, "STALL_S", stall_s)


FAULTS = [
    "slow_down", "error", "refuse", "hang", "hang_inside", "cut", "reset", "too_little", "other_range", "corrupt_length",
    "delay",
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_ridden_out(flaky: FlakyServer, content: bytes, url: str, fault: str):
    version = storage.info(url).version
    flaky.meet(**{fault: 0.5})
    draw = random.Random(fault)
    for _ in range(6):
        start = draw.randrange(SIZE - 1)
        end = draw.randrange(start + 1, SIZE + 1)
        assert storage.read_range(url, start, end, version=version) == content[start:end]
    assert flaky.met()[fault.replace("_", " ")] > 0


def test_all_faults_at_once_from_many_threads(flaky: FlakyServer, content: bytes, url: str):
    version = storage.info(url).version
    flaky.meet(**{fault: 0.05 for fault in FAULTS})
    ends = [(start, min(start + 200_000, SIZE)) for start in range(0, SIZE, 50_000)]
    with ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda span: storage.read_range(url, *span, version=version), ends))
    assert all(piece == content[start:end] for piece, (start, end) in zip(pieces, ends, strict=True))
    assert len(flaky.met()) >= 5


@pytest.mark.usefixtures("less_hurry")
def test_reading_goes_on_at_the_byte_reached(flaky: FlakyServer, content: bytes, url: str):
    flaky.meet(cut=0.9)
    before = storage.counts()
    assert storage.read_range(url, 0, SIZE) == content
    after = storage.counts()
    assert flaky.met()["cut"] > 8, "more cuts than attempts are allowed, so each must have brought the read forward"
    assert after.retries["read_range"] - before.retries.get("read_range", 0) == flaky.met()["cut"]
    assert after.read_bytes["remote"] - before.read_bytes.get("remote", 0) == SIZE


@pytest.mark.usefixtures("less_hurry")
def test_a_drip_is_given_up_for_a_new_connection(flaky: FlakyServer, content: bytes, url: str):
    flaky.meet(drip=0.7)
    before = storage.counts().timeouts.get("read_range", 0)
    assert storage.read_range(url, 0, 300_000) == content[:300_000]
    assert flaky.met()["drip"] > 0
    assert storage.counts().timeouts["read_range"] - before == flaky.met()["drip"]


def test_an_object_that_changes_within_a_read_is_refused(flaky: FlakyServer, content: bytes, url: str):
    (flaky.folder / "next").write_bytes(bytes(SIZE))
    os.utime(flaky.folder / "next", ns=(1, 1))  # the server knows versions by it, and two writes may fall into one tick
    flaky.meet(change=1.0)
    with pytest.raises(PermanentStorageError, match=r"the object changed: got version .*/o\)"):
        storage.read_range(url, 0, SIZE)
    assert flaky.met()["change"] > 0


def test_an_object_that_changed_before_is_refused(flaky: FlakyServer, content: bytes, url: str):
    version = storage.info(url).version
    (flaky.folder / "o").write_bytes(bytes(SIZE))
    os.utime(flaky.folder / "o", ns=(1, 1))
    with pytest.raises(PermanentStorageError, match=rf"the object changed: .*expected {version} .*/o\)"):
        storage.read_range(url, 0, 10, version=version)


def test_a_range_beyond_the_end_is_refused_among_faults(flaky: FlakyServer, content: bytes, url: str):
    flaky.meet(cut=0.5, too_little=0.3)
    with pytest.raises(PermanentStorageError, match=r"read_range: .*/o\)"):
        storage.read_range(url, SIZE - 1000, SIZE + 1)


@pytest.mark.parametrize("fault", ["hang", "refuse", "slow_down", "error"])
def test_a_server_that_never_recovers_is_given_up_with_the_reason(
    flaky: FlakyServer, content: bytes, url: str, fault: str, monkeypatch: pytest.MonkeyPatch
):
    policy = retry.RetryPolicy(first_delay_s=0.01, longest_delay_s=0.2, total_s=2.0)
    monkeypatch.setattr(ranges.fetch_range, "__defaults__", ("", policy))
    flaky.meet(**{fault: 1.0})
    with pytest.raises(TransientStorageError, match=r"gave up after \d+ attempts in .*/o\)"):
        storage.read_range(url, 0, 10)


def test_the_whole_process_slows_down_for_a_throttling_store_and_recovers(flaky: FlakyServer, content: bytes, url: str):
    flaky.meet(slow_down=0.3)
    before = storage.counts().throttles.get("read_range", 0)
    pace = retry.paces.of(url)
    with ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda start: storage.read_range(url, start, start + 1000), range(0, 12_000, 1000)))
    assert b"".join(pieces) == content[:12_000]
    assert storage.counts().throttles["read_range"] - before == flaky.met()["slow down"]
    assert pace.interval_s > 0
    flaky.meet()
    for start in range(60):
        storage.read_range(url, start, start + 1)
    assert pace.interval_s == 0


def test_a_wish_for_later_is_granted(flaky: FlakyServer, content: bytes, url: str):
    flaky.meet(**{"slow_down,_later": 1.0})
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        reading = pool.submit(storage.read_range, url, 0, 10)
        while not flaky.met().get("slow down, later"):
            time.sleep(0.005)
        flaky.meet()
        assert reading.result() == content[:10]
        assert time.monotonic() - started > 1.0, "the server asked for one second"


def test_a_server_without_ranges_is_named(flaky: FlakyServer, content: bytes, url: str):
    flaky.meet(whole_object=1.0)
    with pytest.raises(PermanentStorageError, match=r"got 3000000 bytes, expected 10 of \[5, 15\): no range was sent .*/o\)"):
        storage.read_range(url, 5, 15)
    assert storage.read_range(url, 0, 15) == content[:15], "the whole object begins with the range"
