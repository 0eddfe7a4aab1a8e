"""Ranges of local files that the machine has in memory: read without waiting, and so without a thread that could wait."""

import errno
import os
from contextlib import closing

from pipeline.errors import PermanentStorageError
from pipeline.storage.counts import count
from pipeline.storage.local import FileRange
from pipeline.storage.urls import absolute_url, is_local

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)  # Linux alone has it
_REFUSED_ERRNO = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_refused: set[str] = set()
"""Folders on file systems that cannot tell whether reading would wait, such as NFS: nothing there is asked again."""


def range_at_hand(url: str, start: int, end: int, into: memoryview, *, version: str = "") -> bool:
    """Puts bytes start..end-1 of a local file into memory, if they are in the page cache already.

    Args:
        url: The object.
        start: First byte, from 0.
        end: One past the last byte.
        into: Memory of end - start bytes.
        version: The version that is wanted, as `info` told it; empty for the present one.

    Returns:
        Whether they are there. Not where reading would wait or anything is odd: `read_range` waits, and says what is wrong.
    """
    if not _NOWAIT or not is_local(url):
        return False
    path = absolute_url(url)
    folder = os.path.dirname(path)  # noqa: PTH120 (this is for every window)
    if folder in _refused:
        return False
    try:
        with closing(FileRange(path, start, end, _NOWAIT)) as file:
            if version and file.version != version:
                return False
            reached = 0
            while reached < len(into):
                got = file.readinto(into[reached:])
                if not got:
                    return False
                reached += got
    except OSError as error:
        if error.errno in _REFUSED_ERRNO:
            _refused.add(folder)
        return False
    except PermanentStorageError:
        return False
    count("read_bytes", "local", len(into))
    return True
