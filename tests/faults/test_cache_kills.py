"""The node's cache under processes that are killed, a disk that damages, and a bound that must hold all the time."""

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.storage import RangeCache

SIZE, RANGE = 4_000_000, 100_000

READ_FOREVER = """
import random, sys
from pipeline import storage
url, folder, bound, seed, size, length = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
cache, draw = storage.RangeCache(folder=folder, max_bytes=bound), random.Random(seed)
expected = open(url, "rb").read()
version = storage.info(url).version
while True:
    start = draw.randrange(0, size // length) * length
    assert storage.read_range(url, start, start + length, version=version, cache=cache) == expected[start:start + length]
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "o"
    path.write_bytes(random.Random(0).randbytes(SIZE))
    return str(path)


def content(url: str, start: int, end: int) -> bytes:
    return Path(url).read_bytes()[start:end]


def results() -> dict[str, int]:
    return {name: storage.counts().cache.get(name, 0) for name in ("hit", "miss", "damaged", "not_stored")}


def since(before: dict[str, int]) -> dict[str, int]:
    return {name: total - before[name] for name, total in results().items() if total != before[name]}


def used(folder: Path) -> int:
    """Bytes of all files, while no process may add or rename any."""
    with (folder / "lock").open("a+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        total = 0
        for entry in os.scandir(folder):
            try:
                total += entry.stat().st_size
            except FileNotFoundError:  # a damaged or half-written one, removed without the lock
                continue
    return total


def reader(url: str, folder: Path, bound: int, seed: int) -> subprocess.Popen[str]:
    arguments = [url, str(folder), str(bound), str(seed), str(SIZE), str(RANGE)]
    return subprocess.Popen([sys.executable, "-c", READ_FOREVER, *arguments], stderr=subprocess.PIPE, text=True)


def test_what_was_read_once_comes_from_the_cache(url: str, tmp_path: Path):
    cache, version, before = RangeCache(folder=str(tmp_path / "c"), max_bytes=10**7), storage.info(url).version, results()
    for _ in range(3):
        assert storage.read_range(url, 10, 1000, version=version, cache=cache) == content(url, 10, 1000)
    assert since(before) == {"miss": 1, "hit": 2}
    assert storage.read_range(url, 10, 1001, version=version, cache=cache) == content(url, 10, 1001)
    assert storage.read_range(url, 10, 1000, cache=cache) == content(url, 10, 1000)  # no version, no cache
    assert since(before) == {"miss": 2, "hit": 2}


def test_another_version_is_another_range(url: str, tmp_path: Path):
    cache, old = RangeCache(folder=str(tmp_path / "c"), max_bytes=10**7), storage.info(url).version
    storage.read_range(url, 0, 100, version=old, cache=cache)
    Path(url).write_bytes(bytes(SIZE))
    os.utime(url, ns=(1, 1))  # two writes may fall into one tick of the clock
    new = storage.info(url).version
    assert old != new
    assert storage.read_range(url, 0, 100, version=new, cache=cache) == bytes(100)


@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "empty"])
def test_damage_on_the_disk_is_noticed_and_mended(url: str, tmp_path: Path, harm: str):
    folder = tmp_path / "c"
    cache, version = RangeCache(folder=str(folder), max_bytes=10**7), storage.info(url).version
    storage.read_range(url, 0, 5000, version=version, cache=cache)
    file = next(path for path in folder.iterdir() if path.name != "lock")
    data = bytearray(file.read_bytes())
    if harm == "flip":
        data[2500] ^= 1
    file.write_bytes({"flip": data, "cut": data[:-1], "grow": data + b"x", "empty": b""}[harm])
    before = results()
    for _ in range(2):
        assert storage.read_range(url, 0, 5000, version=version, cache=cache) == content(url, 0, 5000)
    assert since(before) == {"damaged": 1, "miss": 1, "hit": 1}


def test_the_ranges_used_longest_ago_go_first(url: str, tmp_path: Path):
    cache, version = RangeCache(folder=str(tmp_path / "c"), max_bytes=3 * (RANGE + 16)), storage.info(url).version

    def read(number: int) -> None:
        storage.read_range(url, number * RANGE, (number + 1) * RANGE, version=version, cache=cache)
        time.sleep(0.02)  # times of files must differ

    for number in (0, 1, 2, 0, 3):
        read(number)
    before = results()
    for number in (0, 2, 3):
        read(number)
    assert since(before) == {"hit": 3}
    read(1)
    assert since(before) == {"hit": 3, "miss": 1}


def test_what_can_not_be_kept_is_read_all_the_same(url: str, tmp_path: Path):
    version, before = storage.info(url).version, results()
    small = RangeCache(folder=str(tmp_path / "c"), max_bytes=50)
    assert storage.read_range(url, 0, 100, version=version, cache=small) == content(url, 0, 100)
    (tmp_path / "file").write_bytes(b"")
    nowhere = RangeCache(folder=str(tmp_path / "file" / "c"), max_bytes=10**6)
    assert storage.read_range(url, 0, 100, version=version, cache=nowhere) == content(url, 0, 100)
    assert since(before)["not_stored"] == 2
    for bad in ({"folder": "relative", "max_bytes": 1}, {"folder": "/c", "max_bytes": 0}):
        with pytest.raises(ConfigError, match="cache"):
            RangeCache(**bad)  # type: ignore[arg-type]


def test_processes_that_are_killed_never_spoil_the_cache_nor_break_its_bound(url: str, tmp_path: Path):
    folder, bound = tmp_path / "c", 12 * (RANGE + 16)  # of 40 ranges: evicting all the time
    folder.mkdir()
    readers = [reader(url, folder, bound, seed) for seed in range(3)]
    kills = most = 0
    try:
        for seed in range(3, 12):
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline or (not kills and used(folder) < bound // 2):
                most = max(most, used(folder))
                time.sleep(0.002)
            victim = readers.pop(0)
            assert victim.poll() is None, victim.communicate()
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            kills += 1
            readers.append(reader(url, folder, bound, seed))
    finally:
        for process in readers:
            process.kill()
            process.communicate()
    assert kills == 9
    assert bound // 2 < most <= bound
    cache, version, before = RangeCache(folder=str(folder), max_bytes=bound), storage.info(url).version, results()
    for number in range(SIZE // RANGE):
        span = number * RANGE, (number + 1) * RANGE
        assert storage.read_range(url, *span, version=version, cache=cache) == content(url, *span)
    assert since(before).get("damaged", 0) == 0
    assert not list(folder.glob("*.partial")), "what the killed left half written was cleared away"


def test_processes_that_want_the_same_fetch_it_once(tmp_path: Path):
    code = """
import sys, time
from pathlib import Path
from pipeline.storage import RangeCache
folder, log = sys.argv[1:]
def fetch():
    with open(log, "a") as file:
        file.write("x")
    time.sleep(0.5)
    return b"data"
while not Path(log + ".go").exists():
    time.sleep(0.001)
assert RangeCache(folder=folder, max_bytes=10**6).read("u", 0, 4, "v", fetch) == b"data"
"""
    log = tmp_path / "log"
    racers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c"), str(log)]) for _ in range(4)]
    Path(f"{log}.go").touch()
    assert [racer.wait() for racer in racers] == [0] * 4
    assert log.read_text() == "x"
