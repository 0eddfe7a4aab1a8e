"""What lies in a local folder: files, links to them, links that lead nowhere; not what killed writers left aside."""

import errno
import os
import re
import secrets
from collections.abc import Iterator

NO_SUCH_NAME_ERRNO = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP})
"""What says that there is nothing of a name, or that its link leads nowhere: to what is not there, or round in a loop."""
_NOWHERE_ERRNO = frozenset({errno.ENOENT, errno.ELOOP})
_PARTIAL_NAME = re.compile(r"\.[^/]+\.[0-9a-f]{16}\.partial")


def aside_name(name: str) -> str:
    """Returns a new name for what is written aside before it becomes `name`; no listing shows it."""
    return f".{name}.{secrets.token_hex(8)}.partial"


def is_partial(name: str) -> bool:
    """Whether a name is one that `aside_name` gave."""
    return _PARTIAL_NAME.fullmatch(name) is not None


def walk(path: str, recursive: bool, links_only: bool = False) -> Iterator[tuple[os.DirEntry[str], os.stat_result | None]]:
    """Every visible file (or link to one) of the folder, and below it; None for one that is not there.

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
                yield from walk(entry.path, recursive, links_only)
            continue
        if links_only and not entry.is_symlink():
            continue
        try:
            stat = entry.stat()
        except OSError as error:
            if error.errno not in _NOWHERE_ERRNO:
                raise
            stat = None
        yield entry, stat


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether a name is a folder or a link to one; a link in a loop is none."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise
