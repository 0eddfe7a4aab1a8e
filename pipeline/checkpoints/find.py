"""Finding checkpoints: all of a run, the newest good one, or the one a URL names."""

import logging
import re

from pipeline import storage
from pipeline.checkpoints.record import RECORD_NAME, read_record
from pipeline.errors import ConfigError, CorruptDataError

_FOLDER = re.compile(r"step-(\d{9,})")
_log = logging.getLogger(__name__)


def checkpoint_urls(run_url: str) -> list[str]:
    """Returns the checkpoints of a run that were written to the end, newest first."""
    folder = storage.join(run_url, "checkpoints")
    found = {}
    for item in storage.list_objects(folder, recursive=True):
        head, _, name = item.url.rpartition("/")
        match = _FOLDER.fullmatch(head.rpartition("/")[2])
        if name == RECORD_NAME and match:
            found[int(match[1])] = head
    return [found[step] for step in sorted(found, reverse=True)]


def latest_good(run_url: str) -> str | None:
    """Returns the newest checkpoint whose record can be read and whose files have the recorded sizes; None if there is none.

    A damaged checkpoint is passed over with a warning in the log; the bytes of the chosen one are compared with their
    digests when they are loaded.
    """
    for url in checkpoint_urls(run_url):
        problem = _damage(url)
        if problem is None:
            return url
        _log.warning("passing over a damaged checkpoint: %s", problem)
    return None


def resolve(url: str) -> str:
    """Returns the checkpoint that a URL names: the folder itself, or a run's newest good checkpoint.

    Raises:
        ConfigError: The URL is neither a checkpoint nor a run with one, or the named checkpoint is damaged.
    """
    url = storage.absolute_url(url)
    if storage.exists(storage.join(url, RECORD_NAME)):
        problem = _damage(url)
        if problem is not None:
            raise ConfigError(problem)
        return url
    found = latest_good(url)
    if found is None:
        if not storage.is_folder(url):
            raise ConfigError(f"no checkpoint: {url} does not exist; expected a run folder or a checkpoint folder")
        raise ConfigError(f"no checkpoint: {url} holds no readable checkpoint; expected a run folder or a checkpoint folder")
    return found


def _damage(url: str) -> str | None:
    try:
        record = read_record(url)
    except CorruptDataError as error:
        return str(error)
    sizes = {item.url.removeprefix(url + "/"): item.size for item in storage.list_objects(url, recursive=True)}
    for name, file in record.files.items():
        if name not in sizes:
            return f"damaged checkpoint: {name} is missing ({url})"
        if sizes[name] != file.size_bytes:
            return f"damaged checkpoint: {name} has {sizes[name]} bytes, expected {file.size_bytes} ({url})"
    return None
