"""What lies in a local folder: files, links to them, links that lead nowhere; not what killed writers left aside."""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator

NO_SUCH_NAME_ERRNO = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
"""What says that there is nothing of a name, or that its link leads nowhere: to what is not there, or round in a loop."""
_NOWHERE_ERRNO = frozenset({errno.ENOENT, errno.ELOOP})
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_PARTIAL_NAME = re.compile(r"\.[^/]+\.[0-9a-f]{16}\.partial")


def aside_name(name: str) -> str:
    """Returns a new name for what is written aside before it becomes `name`; no listing shows it."""
    return f".{name}.{secrets.token_hex(8)}.partial"


def is_partial(name: str) -> bool:
    """Whether a name is one that `aside_name` gave."""
    return _PARTIAL_NAME.fullmatch(name) is not None


def walk(path: str, recursive: bool, is_odd: bool = False) -> Iterator[tuple[os.DirEntry[str], os.stat_result | None]]:
    """Every visible file (or link to one) of the folder, and below it; None for one that is not there.

    With `is_odd` only what is no plain file: links, and pipes, sockets and devices, which a walk without it shows, too.
    Such a file was removed since the folder was read, or a link leads to nothing. A listing leaves out both: it tells what
    can be read, and a stray link beside checkpoints or samples, which their own lists name, must not stop a run. Where a
    file that is left out means data lost without a word, the caller asks for the dangling links as well.
    """
    try:
        entries = list(os.scandir(path))
    except OSError as error:
        if error.errno in NO_SUCH_NAME_ERRNO:
            return
        raise
    for entry in entries:
        if is_partial(entry.name):
            continue
        if leads_to_folder(entry):
            if recursive:
                yield from walk(entry.path, recursive, is_odd)
            continue
        if is_odd and entry.is_file(follow_symlinks=False):
            continue
        try:
            found = entry.stat()
        except OSError as error:
            if error.errno not in _NOWHERE_ERRNO:
                raise
            found = None
        yield entry, found


def special_kind(mode: int) -> str:
    """What a file is that holds no bytes of its own, in words; empty for plain files and folders.

    Opening one may wait for ever.

    Args:
        mode: As `os.stat` tells it.
    """
    return _SPECIAL.get(stat.S_IFMT(mode), "")


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether a name is a folder or a link to one; a link in a loop is none."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise
