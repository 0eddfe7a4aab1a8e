"""Ranges of local files that the machine has in memory: read without waiting, and so without a thread that could wait."""

import os
from contextlib import closing

from pipeline.errors import PermanentStorageError
from pipeline.storage.counts import count
from pipeline.storage.local import FileRange
from pipeline.storage.urls import absolute_url, is_local

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)  # Linux alone has it


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
    try:
        with closing(FileRange(absolute_url(url), start, end, _NOWAIT)) as file:
            if version and file.version != version:
                return False
            reached = 0
            while reached < len(into):
                got = file.readinto(into[reached:])
                if not got:
                    return False
                reached += got
    except (OSError, PermanentStorageError):  # EAGAIN: it would wait; EOPNOTSUPP: the file system cannot tell
        return False
    count("read_bytes", "local", len(into))
    return True
