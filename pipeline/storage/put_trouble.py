"""Whether something could be put under a name, as far as can be told without leaving anything there."""

import errno
import os

from pipeline.storage.local_walk import aside_name
from pipeline.storage.remote import WRITABLE_SCHEMES
from pipeline.storage.urls import absolute_url, is_local, scheme_of

_NO_NAMELESS_ERRNO = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS})
_FULL_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT})


def put_trouble(url: str) -> str | None:
    """Returns why no object can be put under this name, in a few words; None where nothing speaks against it.

    On a local disk the nearest folder that is there has to take a file that no listing shows, and the file is gone at once. Of
    other stores only the kind is looked at. A full disk is no reason: it may have room by the time.
    """
    if not is_local(url):
        known = ", ".join(sorted(WRITABLE_SCHEMES))
        if "::" in url:
            return f"a chain of URLs cannot be written to, expected a path or a URL of {known}"
        return (
            None if scheme_of(url) in WRITABLE_SCHEMES else f"such URLs cannot be written to, expected a path or one of {known}"
        )
    above, name = os.path.split(absolute_url(url))
    names = [aside_name(name)]
    try:
        while not os.path.lexists(above):
            above, name = os.path.split(above)
            names.append(name)
        if not os.path.isdir(above):  # noqa: PTH112 (text in, text out)
            return f"a file is in the way, {above}, expected a folder or a free name"
        longest, most = max(len(os.fsencode(name)) for name in names), os.pathconf(above, "PC_NAME_MAX")
        if 0 < most < longest:
            spare = len(os.fsencode(aside_name("")))
            return f"a name is too long, expected at most {most} bytes for a folder and {most - spare} for a file"
        _make_and_remove(above)
    except OSError as error:
        if error.errno in _FULL_ERRNO:
            return None
        return f"no file can be made there: {error.strerror} ({above}), expected a place to write to"
    return None


def _make_and_remove(folder: str) -> None:
    """Makes a file that has no name, where the file system knows such; else one that no listing shows, should it stay."""
    if hasattr(os, "O_TMPFILE"):
        try:
            os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600))
        except OSError as error:
            if error.errno not in _NO_NAMELESS_ERRNO:
                raise
        else:
            return
    path = os.path.join(folder, aside_name("probe"))  # noqa: PTH118 (text in, text out)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    os.unlink(path)  # noqa: PTH108
