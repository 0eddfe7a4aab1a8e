"""Finding checkpoints: all of a run, the newest good one, or the one a URL names."""

import logging
import re

from pipeline import storage
from pipeline.checkpoints.foreign import is_foreign
from pipeline.checkpoints.record import RECORD_NAME, check_sampling_files, read_record
from pipeline.errors import ConfigError, CorruptDataError

LATEST = "@latest"
"""At the end of a run folder's URL: that its newest checkpoint is meant, as without it."""
_FOLDER = re.compile(r"step-(\d{9,})")
_log = logging.getLogger(__name__)


def checkpoint_urls(run_url: str) -> list[str]:
    """Returns the checkpoints of a run that were written to the end, newest first."""
    return [url for url, is_whole in _folders(run_url).items() if is_whole]


def unfinished_urls(run_url: str) -> list[str]:
    """Returns the folders of a run's checkpoints that were not written to the end, newest first."""
    return [url for url, is_whole in _folders(run_url).items() if not is_whole]


def step_of(checkpoint_url: str) -> int:
    """Returns the step in the name of a run's checkpoint."""
    return int(checkpoint_url.rpartition("step-")[2])


def _folders(run_url: str) -> dict[str, bool]:
    """Whether each checkpoint folder has its record, newest first."""
    above = storage.join(storage.absolute_url(run_url), "checkpoints") + "/"  # as listings spell it
    found: dict[str, bool] = {}
    for item in storage.list_objects(above.rstrip("/"), recursive=True):
        name, _, file = item.url.removeprefix(above).partition("/")
        if _FOLDER.fullmatch(name):
            found[above + name] = found.get(above + name, False) or file == RECORD_NAME
    return dict(sorted(found.items(), key=lambda folder: step_of(folder[0]), reverse=True))


def is_checkpoint(url: str) -> bool:
    """Returns whether a folder looks like a checkpoint, ours or one that diffusers saved; nothing is read."""
    return storage.exists(storage.join(url, RECORD_NAME)) or is_foreign(url)


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


def without_latest(checkpoint: str) -> str:
    """Returns the run folder where a URL ends with @latest, and any other URL as it is."""
    return re.sub(rf"{LATEST}/*\Z", "", checkpoint)


def resolve(url: str) -> str:
    """Returns the checkpoint that a URL names: the folder itself (ours, or one that diffusers saved), or a run's newest.

    A run is named by its folder, with `@latest` after it or without.

    The files that decide the samples are read and compared with their digests; in a run, a checkpoint that is damaged is
    passed over with a warning in the log as long as an older one is good.

    Raises:
        ConfigError: The URL is neither a checkpoint nor a run with one, or the named checkpoint is damaged.
    """
    url = storage.absolute_url(without_latest(url))
    candidates = [url] if storage.exists(storage.join(url, RECORD_NAME)) else checkpoint_urls(url)
    if not candidates and is_foreign(url):
        return url
    problems = []
    for candidate in candidates:
        problem = _damage(candidate, contents=True)
        if problem is None:
            for passed_over in problems:
                _log.warning("passing over a damaged checkpoint: %s", passed_over)
            return candidate
        problems.append(problem)
    if problems:
        older = f"; {len(problems) - 1} older are damaged as well" if len(problems) > 1 else ""
        raise ConfigError(problems[0] + older)
    there = "holds no checkpoint that was written to the end" if storage.is_folder(url) else "does not exist"
    raise ConfigError(f"no checkpoint: {url} {there}; expected a run folder or a checkpoint folder")


def _damage(url: str, *, contents: bool = False) -> str | None:
    """What is wrong with a checkpoint, in one line; `contents`: whether to read the files that decide the samples."""
    try:
        record = read_record(url)
        sizes = {item.url.removeprefix(url + "/"): item.size for item in storage.list_objects(url, recursive=True)}
        for name, file in record.files.items():
            if name not in sizes:
                return f"damaged checkpoint: {name} is missing ({url})"
            if sizes[name] != file.size_bytes:
                return f"damaged checkpoint: {name} has {sizes[name]} bytes, expected {file.size_bytes} ({url})"
        if contents:
            check_sampling_files(url, record)
    except CorruptDataError as error:
        return str(error)
    return None
