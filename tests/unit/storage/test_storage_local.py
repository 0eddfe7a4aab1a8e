"""The local store under real kills, races between processes, and a disk that says no."""

import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import PermanentStorageError

WRITE_FOREVER = """
import sys
from pipeline import storage
folder = sys.argv[1]
for number in range(10**9):
    storage.put_once(f"{folder}/object-{number:06d}", bytes([number % 256]) * 400_000)
    storage.put_replace(f"{folder}/latest", bytes([number % 256]) * 400_000)
"""

PUT_AT_A_TIME = """
import sys, time
from pipeline import storage
url, letter, start = sys.argv[1], sys.argv[2].encode(), float(sys.argv[3])
time.sleep(max(0, start - time.time()))
print(storage.put_once(url, letter * 2_000_000))
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_killed_writer_leaves_nothing_that_is_seen(tmp_path: Path):
    partials = 0
    for attempt in range(100):
        if partials and attempt > 5:
            break
        folder = tmp_path / str(attempt)
        writer = python(WRITE_FOREVER, str(folder))
        while not (folder / "latest").exists():
            assert writer.poll() is None, "the writer failed"
            time.sleep(0.01)
        time.sleep(0.003 * (attempt % 8))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        partials += len(list(folder.glob(".*.partial")))
        found = storage.list_objects(str(folder))
        assert len(found) >= 2
        for item in found:
            data = storage.read_bytes(item.url)
            assert len(data) == item.size == 400_000
            assert data.count(data[0]) == len(data)
        left = len(list(folder.glob(".*.partial")))
        assert storage.remove_partials(str(tmp_path)) == 0
        assert storage.remove_partials(str(tmp_path), recursive=True) == left
        assert sorted(str(file) for file in folder.iterdir()) == [item.url for item in found]
    assert partials > 0, "no writer was caught in the act: the kills prove nothing"


def test_one_of_four_processes_wins(tmp_path: Path):
    url = str(tmp_path / "deep" / "object")
    start = str(time.time() + 1.5)
    writers = [python(PUT_AT_A_TIME, url, letter, start) for letter in "abcd"]
    answers = [writer.communicate()[0].strip() for writer in writers]
    assert sorted(answers) == ["False", "False", "False", "True"]
    assert storage.read_bytes(url) == b"abcd"[answers.index("True") :][:1] * 2_000_000
    assert names_in(tmp_path / "deep") == ["object"]


@pytest.mark.parametrize("put", [storage.put_once, storage.put_replace])
@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("fsync", errno.ENOSPC), ("fsync", errno.EDQUOT)])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put, call: str, number: int):
    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(PermanentStorageError, match=r"^disk full while put_.*part\.bin\)$"):
        put(str(tmp_path / "part.bin"), b"data")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("put", [storage.put_once, storage.put_replace])
def test_a_write_the_kernel_stops_half_way_leaves_nothing(tmp_path: Path, put):
    """RLIMIT_FSIZE makes the kernel itself write a part and then refuse, as a disk that fills up does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(PermanentStorageError, match="File too large"):
            put(str(tmp_path / "part.bin"), b"x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert names_in(tmp_path) == []


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    data = bytes(range(100))
    assert storage.put_once(str(tmp_path / "object"), data)
    assert (tmp_path / "object").read_bytes() == data


def test_only_what_storage_left_aside_is_hidden(tmp_path: Path):
    (tmp_path / ".part.parquet.0123456789abcdef.partial").write_bytes(b"half")
    for name in [".hidden", "x.partial", ".part.partial", ".part.0123456789abcdeg.partial"]:
        (tmp_path / name).write_bytes(b"whole")
    names = [Path(found.url).name for found in storage.list_objects(str(tmp_path))]
    assert names == [".hidden", ".part.0123456789abcdeg.partial", ".part.partial", "x.partial"]
    assert storage.glob(f"{tmp_path}/.*.partial") == [
        str(tmp_path / ".part.0123456789abcdeg.partial"),
        str(tmp_path / ".part.partial"),
    ]


def test_a_link_to_what_is_not_there_is_not_listed_but_told(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("/nowhere/file")
    (tmp_path / "deep" / "dangling").symlink_to("nothing")
    assert [found.url for found in storage.list_objects(str(tmp_path), recursive=True)] == [
        f"{tmp_path}/file",
        f"{tmp_path}/link",
    ]
    assert storage.dangling_links(str(tmp_path)) == [f"{tmp_path}/dangling"]
    (tmp_path / "loop").symlink_to("loop")
    assert storage.dangling_links(str(tmp_path)) == [f"{tmp_path}/dangling", f"{tmp_path}/loop"]
    assert len(storage.list_objects(str(tmp_path))) == 2
    assert not storage.exists(f"{tmp_path}/loop")
    assert storage.no_objects(str(tmp_path))["loop"] == "a link that leads nowhere"
    (tmp_path / "loop").unlink()
    assert storage.dangling_links(str(tmp_path), recursive=True) == [f"{tmp_path}/dangling", f"{tmp_path}/deep/dangling"]
    assert storage.dangling_links(f"{tmp_path}/none") == []
    assert storage.dangling_links("memory://none") == []


def test_pipes_sockets_and_devices_are_not_listed_but_told(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "deep" / "pipe")
    (tmp_path / "link").symlink_to("deep/pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "dangling").symlink_to("nothing")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server, contextlib.chdir(tmp_path):
        server.bind("socket")
    special = {"link": "a named pipe", "null": "a device", "socket": "a socket"}
    assert [found.url for found in storage.list_objects(str(tmp_path), recursive=True)] == [f"{tmp_path}/file"]
    assert storage.special_files(str(tmp_path)) == {f"{tmp_path}/{name}": kind for name, kind in special.items()}
    assert list(storage.special_files(str(tmp_path), recursive=True)) == sorted(
        f"{tmp_path}/{name}" for name in ("deep/pipe", *special)
    )
    assert storage.no_objects(str(tmp_path)) == {"deep": "a folder", "dangling": "a link that leads nowhere", **special}
    assert storage.dangling_links(str(tmp_path)) == [f"{tmp_path}/dangling"]
    for name, kind in special.items():
        url, refused = f"{tmp_path}/{name}", rf"^is {kind}, expected a file \(.*{name}\)"
        for look in (storage.info, storage.read_bytes, lambda url: storage.read_range(url, 0, 1)):
            with pytest.raises(PermanentStorageError, match=refused):  # never opened, which may wait for ever
                look(url)
        assert storage.exists(url)
        assert not storage.is_object(url)
    assert [storage.is_object(f"{tmp_path}/{name}") for name in ("file", "deep", "dangling", "none")] == [True, *[False] * 3]
    assert storage.special_files(f"{tmp_path}/none") == storage.special_files("memory://none") == {}


def test_the_data_is_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events: list[str] = []
    fsync, link, replace = os.fsync, os.link, os.replace

    def record_sync(descriptor: int) -> None:
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        events.append("sync data" if target.endswith(".partial") else f"sync {os.path.relpath(target, tmp_path)}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "link", lambda *names: (events.append("link"), link(*names)))
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("replace"), replace(*names)))
    storage.put_once(str(tmp_path / "new" / "object"), b"x")
    assert events == ["sync .", "sync data", "link", "sync new"]
    events.clear()
    storage.put_replace(str(tmp_path / "new" / "object"), b"y")
    assert events == ["sync data", "replace", "sync new"]


def test_a_file_system_without_links_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(PermanentStorageError, match="hard links"):
        storage.put_once(str(tmp_path / "object"), b"x")
    assert names_in(tmp_path) == []


def test_a_stale_handle_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]):
    link = os.link
    faults = [OSError(errno.ESTALE, "Stale file handle")]

    def stale_once(*names: str) -> None:
        if faults:
            raise faults.pop()
        link(*names)

    monkeypatch.setattr(os, "link", stale_once)
    before = storage.counts().retries.get("put_once", 0)
    assert storage.put_once(str(tmp_path / "object"), b"x")
    assert storage.counts().retries["put_once"] == before + 1
    assert len(pauses) == 1
    assert names_in(tmp_path) == ["object"]


def test_permission_denied_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermanentStorageError, match="permission denied"):
        storage.put_once(str(tmp_path / "object"), b"x")


def test_a_name_longer_than_the_file_system_allows_is_no_name(tmp_path: Path):
    url = str(tmp_path / ("x" * 300))
    assert not storage.exists(url)
    assert not storage.is_folder(url)
    assert storage.list_objects(url) == []


def test_folders_and_links_that_lead_nowhere_are_seen_and_renamed(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("/nonexistent")
    (tmp_path / "alias").symlink_to(tmp_path / "file")
    assert storage.no_objects(str(tmp_path)) == {"folder": "a folder", "link": "a link that leads nowhere"}
    assert storage.no_objects(str(tmp_path / "missing")) == storage.no_objects("memory://x") == {}
    taken = [name for name in ("folder", "file", "link", "alias", "missing") if storage.is_taken(str(tmp_path / name))]
    assert taken == ["folder", "file", "link", "alias"]
    for name in ("folder", "link"):
        storage.rename(str(tmp_path / name), str(tmp_path / "away" / name))
    assert storage.no_objects(str(tmp_path)) == {"away": "a folder"}
    with pytest.raises(PermanentStorageError, match="rename: no such object"):
        storage.rename(str(tmp_path / "missing"), str(tmp_path / "away" / "missing"))
