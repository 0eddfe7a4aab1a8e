"""What every store promises, whichever it is."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline import storage
from pipeline.errors import PermanentStorageError


def test_an_object_is_what_was_put(root: str):
    data = bytes(range(256)) * 1000
    url = storage.join(root, "folder", "object.bin")
    assert not storage.exists(url)
    assert storage.put_once(url, data) is True
    assert storage.exists(url)
    assert storage.read_bytes(url) == data
    assert storage.info(url).size == len(data)
    assert storage.info(url).url == url


def test_an_empty_object_is_an_object(root: str):
    url = storage.join(root, "empty")
    assert storage.put_once(url, b"") is True
    assert storage.put_once(url, b"") is False
    assert storage.read_bytes(url) == b""
    assert [found.size for found in storage.list_objects(root)] == [0]


def test_put_once_never_changes_what_is_there(root: str):
    url = storage.join(root, "object")
    assert storage.put_once(url, b"first") is True
    assert storage.put_once(url, b"second, and longer") is False
    assert storage.put_once(url, b"first") is False
    assert storage.read_bytes(url) == b"first"


def test_put_replace_replaces_and_the_version_tells(root: str):
    url = storage.join(root, "object")
    storage.put_replace(url, b"old content")
    old = storage.info(url)
    storage.put_replace(url, b"new")
    assert storage.read_bytes(url) == b"new"
    assert storage.info(url).version != old.version
    assert storage.info(url).size == 3


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (3, 7), (0, 10), (9, 10), (10, 10)])
def test_read_range_returns_exactly_the_range(root: str, start: int, end: int):
    url = storage.join(root, "object")
    storage.put_once(url, b"0123456789")
    assert storage.read_range(url, start, end) == b"0123456789"[start:end]


@pytest.mark.parametrize("name", ["a b+c", "ä€", "100%25", "x?y#z&=", "~(1)!*'", "semi;colon@,$"])
def test_ranges_of_objects_of_any_name(root: str, name: str):
    url = storage.join(root, name)
    storage.put_once(url, b"0123456789")
    version = storage.info(url).version
    assert [storage.read_range(url, at, 10, version=version) for at in range(3)] == [b"0123456789"[at:] for at in range(3)]


@pytest.mark.parametrize(("start", "end"), [(0, 11), (9, 12), (10, 11), (20, 30)])
def test_a_range_past_the_end_is_an_error(root: str, pauses: list[float], start: int, end: int):
    url = storage.join(root, "object")
    storage.put_once(url, b"0123456789")
    with pytest.raises(PermanentStorageError, match="read_range"):
        storage.read_range(url, start, end)


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (4, 3)])
def test_a_range_that_is_none_is_refused(root: str, start: int, end: int):
    with pytest.raises(ValueError, match="expected 0 <= start <= end"):
        storage.read_range(storage.join(root, "object"), start, end)


def test_list_objects_shows_files_sorted_and_fresh(root: str):
    assert storage.list_objects(root) == []
    for name in ["b", "a", "c/d", "c/e/f", "a-b", "z"]:
        storage.put_once(storage.join(root, name), name.encode())
    assert [found.url for found in storage.list_objects(root)] == [f"{root}/{name}" for name in ["a", "a-b", "b", "z"]]
    everything = storage.list_objects(root, recursive=True)
    assert [found.url for found in everything] == [f"{root}/{name}" for name in ["a", "a-b", "b", "c/d", "c/e/f", "z"]]
    assert everything == sorted((storage.info(found.url) for found in everything), key=lambda found: found.url)
    storage.put_once(storage.join(root, "late"), b"")
    assert f"{root}/late" in [found.url for found in storage.list_objects(root)]
    assert [found.url for found in storage.list_objects(storage.join(root, "c"))] == [f"{root}/c/d"]


def test_what_is_no_folder_lists_nothing(root: str):
    storage.put_once(storage.join(root, "file"), b"x")
    assert storage.list_objects(storage.join(root, "file")) == []
    assert storage.list_objects(storage.join(root, "none"), recursive=True) == []


def test_glob(root: str):
    for name in ["s-1.tar", "s-2.tar", "s-2.txt", "deep/s-3.tar"]:
        storage.put_once(storage.join(root, name), b"x")
    assert storage.glob(f"{root}/*.tar") == [f"{root}/s-1.tar", f"{root}/s-2.tar"]
    assert storage.glob(f"{root}/**/s-3.tar") == [f"{root}/deep/s-3.tar"]
    assert storage.glob(f"{root}/none-*.tar") == []


def test_folders_are_told_from_objects(root: str):
    storage.put_once(storage.join(root, "folder", "object"), b"x")
    assert storage.is_folder(storage.join(root, "folder"))
    assert storage.exists(storage.join(root, "folder"))
    assert not storage.is_folder(storage.join(root, "folder", "object"))
    assert not storage.is_folder(storage.join(root, "none"))
    with pytest.raises(PermanentStorageError, match="is a folder"):
        storage.info(storage.join(root, "folder"))


@pytest.mark.parametrize("read", [storage.read_bytes, storage.info, lambda url: storage.read_range(url, 0, 1)])
def test_a_missing_object_is_named(root: str, read):
    url = storage.join(root, "missing.bin")
    with pytest.raises(PermanentStorageError, match=r"no such object .*missing\.bin"):
        read(url)


def test_remove_tree_removes_all_below_and_nothing_beside(root: str):
    for name in ["run/a", "run/deep/b", "running"]:
        storage.put_once(storage.join(root, name), b"x")
    storage.remove_tree(storage.join(root, "run"))
    assert [found.url for found in storage.list_objects(root, recursive=True)] == [f"{root}/running"]
    storage.remove_tree(storage.join(root, "run"))
    storage.remove_tree(storage.join(root, "running"))
    assert storage.list_objects(root, recursive=True) == []


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads that are switched between at every chance."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_one_of_eight_threads_wins_and_readers_see_it_whole(root: str):
    writers, rounds, size = 8, 8, 100_000
    contents = [bytes([65 + writer]) * size for writer in range(writers)]
    urls = [storage.join(root, f"object-{number}") for number in range(rounds)]
    done = threading.Event()
    seen: list[bytes] = []

    def watch() -> None:
        is_last = False
        while not is_last:
            is_last = done.is_set()  # one look more: the thread may not have had a turn before
            seen.extend(storage.read_bytes(found.url) for found in storage.list_objects(root))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(writers) as pool:
            for url in urls:
                barrier = threading.Barrier(writers)

                def put(content: bytes, url: str = url, barrier: threading.Barrier = barrier) -> bool:
                    barrier.wait()
                    return storage.put_once(url, content)

                created = list(pool.map(put, contents))
                assert created.count(True) == 1
                assert storage.read_bytes(url) == contents[created.index(True)]
    finally:
        done.set()
        watcher.join()
    assert seen
    assert set(seen) <= set(contents)


def test_odd_names_survive(root: str):
    names = ["with space.txt", "ünïcode-字.bin", "a=b&c+d.txt", "percent%20.txt", ".hidden"]
    for name in names:
        assert storage.put_once(storage.join(root, name), name.encode()) is True
    assert sorted(found.url for found in storage.list_objects(root)) == sorted(storage.join(root, name) for name in names)
    for name in names:
        assert storage.read_bytes(storage.join(root, name)) == name.encode()


def test_an_object_cannot_stand_where_a_folder_stands(root: str):
    storage.put_once(storage.join(root, "folder", "object"), b"x")
    if root.startswith("s3://"):  # there names are just names
        assert storage.put_once(storage.join(root, "folder"), b"y") is True
        assert storage.read_bytes(storage.join(root, "folder", "object")) == b"x"
        return
    with pytest.raises(PermanentStorageError):
        storage.put_once(storage.join(root, "folder"), b"y")
    with pytest.raises(PermanentStorageError):
        storage.put_once(storage.join(root, "folder", "object", "below"), b"y")
    assert storage.read_bytes(storage.join(root, "folder", "object")) == b"x"
