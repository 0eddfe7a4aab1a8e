"""One job at a time in a folder: a lock that the kernel drops when its holder dies, or on object stores a lease."""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.runtime.console import warn

LOCK_NAME = ".lock"
_STORE_URL = "lease", "store-creates-once"
_NO_LOCKS_ERRNO = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


@contextlib.contextmanager
def sole_job(folder_url: str, *, unguarded: Literal["refuse", "warn"] = "refuse") -> Iterator[storage.Fence | None]:
    """Holds a folder for one job; yields the fence that its workers check, or None where they need none.

    Args:
        folder_url: The job's folder.
        unguarded: What to do on a file system without locks and on a store that does not create an object once: jobs there
            cannot see each other.

    Raises:
        ConfigError: Another job is at work in the folder, or the store cannot tell.
        StorageError: The store could not be asked.
    """
    with contextlib.ExitStack() as held:
        if storage.is_local(folder_url):
            fence, problem = None, held.enter_context(_locked(Path(folder_url)))
        elif _creates_once(folder_url):
            fence, problem = held.enter_context(storage.leased(folder_url)), ""
        else:
            fence, problem = None, f"the store of {folder_url} ignores conditional puts"
        if problem:
            problem += ": two jobs at once could write over each other's files"
            if unguarded == "refuse":
                raise ConfigError(f"{problem}; use another store, or --sole-writer if no other job ever writes there")
            warn(f"warning: {problem}; nothing keeps a second one away")
        yield fence


def _creates_once(folder_url: str) -> bool:
    """Asked once for every folder; the answer is noted in it."""
    note = storage.join(folder_url, *_STORE_URL)
    if storage.exists(note):
        return True
    if not storage.honours_put_once(folder_url):
        return False
    storage.put_replace(note, b"")
    return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[str]:
    """Yields what is wrong with the lock, empty if it is held."""
    folder.mkdir(parents=True, exist_ok=True)
    problem = ""
    with (folder / LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another job is at work in {folder}; wait for it or stop it") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS_ERRNO:
                raise
            problem = f"the file system of {folder} has no locks ({error.strerror})"
        yield problem
