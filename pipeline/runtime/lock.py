"""One job at a time in a local folder: a lock that the kernel drops when its holder dies, however it dies."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from pipeline import storage
from pipeline.errors import ConfigError

LOCK_NAME = ".lock"


@contextlib.contextmanager
def sole_job(folder_url: str) -> Iterator[None]:
    """Holds a local folder for one job; does nothing for folders on other stores.

    Raises:
        ConfigError: Another job is at work in the folder.
    """
    if not storage.is_local(folder_url):
        yield
        return
    folder = Path(folder_url)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another job is at work in {folder_url}; wait for it or stop it") from error
        yield
