"""One job at a time in a local folder: a lock that the kernel drops when its holder dies."""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.storage.faults import in_our_words
from pipeline.storage.urls import absolute_url

_LOCK_NAME = ".lock"
_NO_LOCKS_ERRNO = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@contextlib.contextmanager
def locked(folder_url: str) -> Iterator[str]:
    """Holds the lock of a local folder, which is made where it is missing; yields what is wrong with it, empty if it is held.

    Args:
        folder_url: The folder.

    Raises:
        ConfigError: Another job has it, or a file is where the folder should be.
        StorageError: The folder cannot be made or written to.
    """
    folder = Path(absolute_url(folder_url))
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((folder / _LOCK_NAME).open("w"))
            problem = _take(lock.fileno(), folder)
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigError(f"got {folder}, where a file is in the way; expected a folder or a free name") from error
        except OSError as error:
            raise in_our_words(error, str(folder), "locking the folder") or error from error
        yield problem


def _take(lock: int, folder: Path) -> str:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"another job is at work in {folder}; wait for it or stop it") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS_ERRNO:
            raise
        return f"the file system of {folder} has no locks ({error.strerror})"
    return ""
