"""A cache of byte ranges on a node's local disk, shared by all processes of the node, never larger than it may be.

Each range is one file named by a digest of (URL, version, start, end), written aside and renamed, and checked by its checksum
whenever it is read. Nothing here needs a server or survives in memory, so any process may be killed at any time: what it left
half written is overwritten or removed by the next. Locks are the kernel's, which lets go of them with the process.
"""

import contextlib
import fcntl
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import xxhash

from pipeline.arguments import expect
from pipeline.errors import ConfigError
from pipeline.storage.counts import count

Bytes = bytes | bytearray | memoryview
"""What holds bytes."""

_HEADER = 16  # bytes: the checksum of what follows, as hexadecimal digits
_PARTIAL = ".partial"
_LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeCache:
    """Where ranges are kept on the node; every process makes its own from the same two values."""

    folder: str | os.PathLike[str]
    """A folder on a local disk, made where it is missing; nothing else should be in it."""
    max_bytes: int
    """The most that all files in it take together."""

    def __post_init__(self) -> None:
        expect((str, os.PathLike), "an absolute path on the nodes' disks", folder=self.folder)
        expect(Real, "a number of bytes", max_bytes=self.max_bytes)
        folder = os.fspath(self.folder)
        if not folder.startswith("/"):
            raise ConfigError(f"cache folder: got {folder!r}, expected an absolute path on the nodes' disks")
        if not 1 <= self.max_bytes < math.inf:
            raise ConfigError(f"cache size: got {self.max_bytes} bytes, expected at least 1")
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "max_bytes", int(self.max_bytes))  # 1e11 is how people write it

    def read(self, url: str, start: int, end: int, version: str, fetch: Callable[[], Bytes]) -> Bytes:
        """Returns a range from the cache, or from `fetch` where it is not there, and keeps it.

        Processes that want the same range at the same time wait for the first of them instead of fetching it as well.

        Args:
            url: The object.
            start: First byte.
            end: One past the last byte.
            version: Version of the object; where it is empty nothing is kept, as a change could not be noticed.
            fetch: Reads the range from the store.

        Raises:
            StorageError: As `fetch`. A disk that is full or fails is none: the range is then fetched and not kept.
        """
        if not version:
            return fetch()
        path = self._path(url, start, end, version)
        found = self._look(path, end - start)
        if found is not None:
            return found
        with contextlib.ExitStack() as held:
            try:
                file = held.enter_context(self._claim(path))
            except OSError:
                count("cache", "not_stored")
                return fetch()
            found = self._look(path, end - start)  # somebody else may have fetched it while we waited for the claim
            if found is not None:
                return found
            count("cache", "miss")
            data = fetch()
            try:
                self._keep(file, path, data)
            except OSError:
                count("cache", "not_stored")
            return data

    def _path(self, url: str, start: int, end: int, version: str) -> Path:
        name = hashlib.blake2b(f"{url}\n{version}\n{start}\n{end}".encode(), digest_size=20).hexdigest()
        return Path(self.folder) / name

    def _look(self, path: Path, size: int) -> memoryview | None:
        """What a file holds, where it is there and sound."""
        try:
            content = path.read_bytes()
            os.utime(path)  # the files used longest ago go first
        except OSError:
            return None
        data = memoryview(content)[_HEADER:]
        if len(data) == size and content[:_HEADER] == _checksum(data):
            count("cache", "hit")
            count("read_bytes", "cache", size)
            return data
        count("cache", "damaged")
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return None

    @contextlib.contextmanager
    def _claim(self, path: Path) -> Iterator[int]:
        """Holds the file under which a range is written aside; one process at a time."""
        partial = path.with_suffix(_PARTIAL)
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                # It may have been renamed or removed by its last holder while we waited.
                if _is_at(file, partial):
                    yield file
                    if _is_at(file, partial):  # not renamed: nothing came of it
                        partial.unlink()
                    return
            finally:
                os.close(file)

    def _keep(self, file: int, path: Path, data: Bytes) -> None:
        size = _HEADER + len(data)
        os.ftruncate(file, 0)  # a killed process may have left something
        with self._lock():
            room = self._make_room(size)
            if room:
                os.posix_fallocate(file, 0, size)  # counted by the next who looks for room, though not yet written
        if not room:
            count("cache", "not_stored")
            return
        rest = memoryview(data)
        at = os.pwrite(file, _checksum(data), 0)
        while rest:
            written = os.pwrite(file, rest, at)
            rest, at = rest[written:], at + written
        with self._lock():  # who looks for room must see it once, under one name or the other
            path.with_suffix(_PARTIAL).rename(path)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        file = os.open(Path(self.folder) / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _make_room(self, size: int) -> bool:
        """Removes the files used longest ago until `size` bytes more may be written; whether they may. Held: the lock."""
        if size > self.max_bytes:
            return False
        entries: list[tuple[float, int, Path]] = []
        total = 0
        for entry in os.scandir(self.folder):
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue
            if entry.name.endswith(_PARTIAL):
                if _removed_if_abandoned(entry.path):
                    continue
            elif entry.name != _LOCK:
                entries.append((stat.st_mtime, stat.st_size, Path(entry.path)))
            total += stat.st_size
        for _, freed, path in sorted(entries):
            if total + size <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= freed
        return total + size <= self.max_bytes


def _checksum(data: Bytes) -> bytes:
    return xxhash.xxh3_64_hexdigest(data).encode()


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _removed_if_abandoned(path: str) -> bool:
    """Removes a file that is written aside if nobody holds it, because its writer was killed."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(file, Path(path)):
            Path(path).unlink()  # with the lock held: who waits for it finds another file under the name and starts anew
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
