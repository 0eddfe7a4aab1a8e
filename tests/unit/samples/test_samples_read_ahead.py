"""Parts on a store are read before their turn: in order, several at a time, within bounds, errors where they belong."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_makers import finished_set

from pipeline import storage
from pipeline.errors import PermanentStorageError
from pipeline.samples import SampleSet, many_parts, read_ahead, verify

PATIENCE_S = 60.0
URL = "memory://read-ahead"


class Store:
    """Answers each read once it is told to, in any order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, threading.Event] = {}
        self.lock = threading.Condition()

    def read_bytes(self, url: str) -> bytes:
        with self.lock:
            self.asked.append(url)
            self.lock.notify_all()
        if url in self.answers:
            assert self.answers[url].wait(PATIENCE_S)
        if "missing" in url:
            raise PermanentStorageError("no such object", url)
        return url.encode()

    def until_asked(self, count: int) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.asked) >= count, PATIENCE_S)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(storage, "read_bytes", store.read_bytes)
    return store


def names(count: int) -> list[str]:
    return [f"{URL}/{number}" for number in range(count)]


def test_several_are_read_at_once_and_come_in_order(store: Store):
    store.answers = {url: threading.Event() for url in names(20)}
    reads = read_ahead.read_ahead((url, 1) for url in names(20))
    first = next(reads)
    store.until_asked(read_ahead.MOST_READ)
    assert len(store.asked) == read_ahead.MOST_READ, "no more than these"
    for answer in reversed(list(store.answers.values())):  # the last one first
        answer.set()
    assert [read() for read in [first, *reads]] == [url.encode() for url in names(20)]


@pytest.mark.parametrize(("num_bytes", "at_once"), [(read_ahead.MOST_BYTES // 3, 3), (10 * read_ahead.MOST_BYTES, 1)])
def test_large_ones_are_read_within_bounds(store: Store, num_bytes: int, at_once: int):
    reads = read_ahead.read_ahead((url, num_bytes) for url in names(9))
    for number, read in enumerate(reads):
        assert len(store.asked) <= number + at_once
        assert read() == f"{URL}/{number}".encode()


def test_an_error_comes_from_the_one_it_belongs_to(store: Store):
    urls = [f"{URL}/a", f"{URL}/missing", f"{URL}/b"]
    first, missing, last = list(read_ahead.read_ahead((url, 1) for url in urls))
    assert last() == urls[2].encode()
    with pytest.raises(PermanentStorageError, match=r"no such object .*missing"):
        missing()
    assert first() == urls[0].encode()


def test_files_are_read_when_they_are_asked_for(store: Store, tmp_path: Path):
    reads = list(read_ahead.read_ahead((str(tmp_path / name), 1) for name in "abc"))
    assert store.asked == []
    assert reads[1]() == str(tmp_path / "b").encode()
    assert store.asked == [str(tmp_path / "b")]


@pytest.mark.parametrize(
    "break_it", [lambda part: storage.put_replace(part, b"damaged"), storage.remove_tree], ids=["other", "gone"]
)
def test_what_is_found_is_the_same_as_on_a_disk(tmp_path: Path, break_it: Callable[[str], None]):
    found = []
    for url in (str(tmp_path / "set"), f"{URL}-{break_it.__name__}/set"):
        finished_set(url, 200, 10)
        for first in (10, 90, 190):
            break_it(f"{url}/data/part-{first:012d}.parquet")
        report = verify(url)
        found.append((report.label_counts, [problem.replace(url, "") for problem in report.problems], report.broken))
        assert len(report.broken) == 3
    assert found[0] == found[1]


def test_tasks_hold_every_part_once(tmp_path: Path):
    finished_set(str(tmp_path / "set"), 700, 10)
    records = SampleSet(str(tmp_path / "set")).committed()
    for url, most in ((str(tmp_path / "set"), 1), (URL, 32)):
        tasks = list(many_parts._tasks(url, records))
        assert [record for task in tasks for record in task] == records
        assert max(map(len, tasks)) == most
