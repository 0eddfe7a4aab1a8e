import os
from pathlib import Path

import pytest

from pipeline import storage

CONTENT = bytes(range(256)) * 8192  # 2 MiB: more than one call


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "o"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def warm(file: Path) -> Path:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        file.read_bytes()
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except (AttributeError, OSError):
        pytest.skip("neither this system nor this file system tells whether reading would wait")
    finally:
        os.close(descriptor)
    return file


def at_hand(url: str, start: int, end: int, version: str = "") -> bytes | None:
    into = memoryview(bytearray(end - start))
    return bytes(into) if storage.range_at_hand(url, start, end, into, version=version) else None


def test_what_the_page_cache_holds_is_read(warm: Path) -> None:
    version = storage.info(str(warm)).version
    for start, end in ((0, len(CONTENT)), (5, 6), (1_000_000, 1_999_999)):
        found = None
        for _ in range(20):  # the system may take pages away at any time
            warm.read_bytes()
            found = found or at_hand(str(warm), start, end, version)
        assert found == CONTENT[start:end]


def test_what_lies_on_the_disk_alone_is_left_to_those_who_wait(warm: Path) -> None:
    descriptor = os.open(warm, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    if at_hand(str(warm), 0, len(CONTENT)) is not None:
        pytest.skip("this file system keeps its files in memory")
    assert storage.read_range(str(warm), 0, len(CONTENT)) == CONTENT


def test_what_is_odd_is_left_to_those_who_say_so(file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    assert at_hand(str(file), 0, 100, version="1") is None
    assert at_hand(str(file), len(CONTENT) - 1, len(CONTENT) + 1) is None
    for odd in (tmp_path / "missing", tmp_path / "link", tmp_path / "pipe", tmp_path):
        assert at_hand(str(odd), 0, 1) is None
    assert at_hand("memory://bucket/o", 0, 1) is None
    assert at_hand("http://127.0.0.1:9/o", 0, 1) is None
