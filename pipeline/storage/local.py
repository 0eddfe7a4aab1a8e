"""The local store: files written aside, synced to the disk and linked or renamed into place.

A writer that is killed leaves at most a file named `.<name>.<16 hex digits>.partial`, which no listing shows.
"""

import errno
import glob as glob_module
import os
import shutil
import stat
from pathlib import Path

from pipeline.errors import PermanentStorageError
from pipeline.storage.faults import short_range
from pipeline.storage.info import ObjectInfo
from pipeline.storage.local_walk import NO_SUCH_NAME_ERRNO, aside_name, is_partial, special_kind, walk
from pipeline.storage.ranges import OpenRange

_CALL_BYTES = 2**20
"""Bytes of one read or write: one of 12 MB can cost twice (read) or six times (write) the CPU of twelve of 1 MB (ext4, Linux
6.18)."""
_NO_LINKS_ERRNO = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


class LocalStore:
    """Objects are regular files; URLs are absolute paths. Raises OSError where the file system does."""

    def exists(self, path: str) -> bool:
        """Whether a file or folder has this name."""
        return _stat_or_none(path) is not None

    def is_folder(self, path: str) -> bool:
        """Whether a folder has this name."""
        try:
            return Path(path).is_dir()
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return False
            raise

    def is_file(self, path: str) -> bool:
        """Whether a plain file, or a link to one, has this name."""
        found = _stat_or_none(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def info(self, path: str) -> ObjectInfo:
        """Size and mtime of a file."""
        if self.is_folder(path):
            raise IsADirectoryError(errno.EISDIR, "is a folder, expected a file")
        return _object_info(path, _stat_of_file(path))

    def list_objects(self, path: str, recursive: bool) -> list[ObjectInfo]:
        """Files in the folder, in no order; none if there is no such folder."""
        found = walk(path, recursive)
        return [_object_info(entry.path, its) for entry, its in found if its is not None and not special_kind(its.st_mode)]

    def dangling_links(self, path: str, recursive: bool) -> list[str]:
        """Links in the folder to what is not there, in no order."""
        found = walk(path, recursive, is_odd=True)
        return [entry.path for entry, its in found if its is None and os.path.islink(entry.path)]  # noqa: PTH114

    def special_files(self, path: str, recursive: bool) -> dict[str, str]:
        """What each pipe, socket or device in the folder is, by its name."""
        found = walk(path, recursive, is_odd=True)
        return {entry.path: kind for entry, its in found if its is not None and (kind := special_kind(its.st_mode))}

    def glob(self, pattern: str) -> list[str]:
        """Files and folders that match; `**` crosses folders."""
        return [path for path in glob_module.glob(pattern, recursive=True) if not is_partial(os.path.basename(path))]  # noqa: PTH119, PTH207

    def read_bytes(self, path: str, *, or_pipe: bool = False) -> bytes:
        """The whole file; with `or_pipe` what comes out of a pipe or device, too, however long that takes."""
        if not or_pipe:
            _stat_of_file(path)
        return Path(path).read_bytes()

    def open_range(self, url: str, start: int, end: int, version: str) -> OpenRange:
        """Opens the file for a range; what is read is of the file that was opened, whatever is renamed over it."""
        return FileRange(url, start, end)

    def put_once(self, path: str, data: bytes | bytearray | memoryview) -> bool:
        """Create the file with this content; False if the name was taken."""
        if self.exists(path):  # no need to write the data aside first; the link below is what decides
            self._refuse_folder(path)
            return False
        aside = _write_aside(path, data)
        try:
            os.link(aside, path)
            created = True
        except FileExistsError:
            self._refuse_folder(path)
            # Over NFS a link can succeed, lose its answer, and be told "exists" when the client asks again.
            created = os.path.samefile(aside, path)  # noqa: PTH121
        except OSError as error:
            if error.errno in _NO_LINKS_ERRNO:
                raise PermanentStorageError("this file system has no hard links, which put_once needs", path) from error
            raise
        finally:
            Path(aside).unlink()
        _sync_folder(os.path.dirname(path))  # noqa: PTH120
        return created

    def put_replace(self, path: str, data: bytes | bytearray | memoryview) -> None:
        """Give the file this content, whatever it held before."""
        aside = _write_aside(path, data)
        try:
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink()
            raise
        _sync_folder(os.path.dirname(path))  # noqa: PTH120

    def remove_partials(self, path: str, recursive: bool) -> int:
        """Remove what killed writers left in the folder; returns how many files that were."""
        left: list[str] = []
        for at, folders, names in os.walk(path):
            left += [os.path.join(at, name) for name in names if is_partial(name)]  # noqa: PTH118
            if not recursive:
                folders.clear()  # which is how a walk is told not to go on below
        for file in left:
            Path(file).unlink(missing_ok=True)
        return len(left)

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all that is below it, or one file; nothing if the name is free."""
        if self.is_folder(path):
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)

    def _refuse_folder(self, path: str) -> None:
        if self.is_folder(path):
            raise IsADirectoryError(errno.EISDIR, "is a folder, expected a free name or a file")


class FileRange:
    """A range of an open file.

    Args:
        path: The file.
        start: First byte.
        end: One past the last byte.
        flags: How the system is to read, such as `os.RWF_NOWAIT`.
    """

    def __init__(self, path: str, start: int, end: int, flags: int = 0) -> None:
        _stat_of_file(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._at, self._flags = start, flags
        try:
            found = os.fstat(self._descriptor)
            if found.st_size < end:
                raise short_range(path, found.st_size, end)
        except BaseException:
            self.close()
            raise
        self.version = _version(found)

    def readinto(self, into: memoryview) -> int:
        """Puts the next bytes at the start of `into`."""
        got = os.preadv(self._descriptor, [into[:_CALL_BYTES]], self._at, self._flags)
        self._at += got
        return got

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


def _stat_or_none(path: str) -> os.stat_result | None:
    """Unlike os.path.exists, tells a missing name from one that may not be looked at."""
    try:
        return os.stat(path)  # noqa: PTH116
    except OSError as error:
        if error.errno in NO_SUCH_NAME_ERRNO:
            return None
        raise


def _stat_of_file(path: str) -> os.stat_result:
    """Refuses a pipe, socket or device without opening it: that may wait for ever."""
    found = os.stat(path)  # noqa: PTH116 (mirrors DirEntry.stat above)
    if kind := special_kind(found.st_mode):
        raise PermanentStorageError(f"is {kind}, expected a file", path)
    return found


def _version(found: os.stat_result) -> str:
    return str(found.st_mtime_ns)


def _object_info(path: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(url=path, size=found.st_size, version=_version(found))


def _write_aside(path: str, data: bytes | bytearray | memoryview) -> str:
    """Write `data` to the disk, next to `path` under a name that listings skip; returns that name."""
    folder, name = os.path.split(path)
    _make_folder(folder)
    aside = os.path.join(folder, aside_name(name))  # noqa: PTH118
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest[:_CALL_BYTES]) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        Path(aside).unlink()
        raise
    return aside


def _make_folder(folder: str) -> None:
    """Make the folder and its parents, and have the names of the new ones on the disk."""
    if os.path.isdir(folder):  # noqa: PTH112
        return
    parent = os.path.dirname(folder)  # noqa: PTH120
    _make_folder(parent)
    Path(folder).mkdir(exist_ok=True)
    _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    """Have the folder's names on the disk: without this a power cut can undo a link or a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
