"""One job at a time in a folder: a lock that the kernel drops when its holder dies, or on object stores a lease."""

import contextlib
from collections.abc import Iterator
from typing import Literal

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.runtime.console import warn

_STORE_URL = "lease", "store-creates-once"


@contextlib.contextmanager
def sole_job(folder_url: str, *, unguarded: Literal["refuse", "warn"] = "refuse") -> Iterator[storage.Fence | None]:
    """Holds a folder for one job; yields the fence that its workers check, or None where they need none.

    Args:
        folder_url: The job's folder.
        unguarded: What to do on a file system without locks and on a store that does not create an object once: jobs there
            cannot see each other.

    Raises:
        ConfigError: Another job is at work in the folder, the store cannot tell, or a file is where the folder should be.
        StorageError: The store could not be asked, or the folder cannot be made or written to.
    """
    with contextlib.ExitStack() as held:
        if storage.is_local(folder_url):
            fence, problem = None, held.enter_context(storage.locked(folder_url))
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
    """Asked once for every folder; the answer is noted in it, with where it was given: folders are copied to other stores."""
    note, here = storage.join(folder_url, *_STORE_URL), f"{storage.server_of(folder_url)} {folder_url}\n".encode()
    if storage.exists(note) and storage.read_bytes(note) == here:
        return True
    if not storage.honours_put_once(folder_url):
        return False
    storage.put_replace(note, here)
    return True
