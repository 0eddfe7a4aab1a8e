"""Where a job writes: an absolute URL, whoever starts the job from wherever."""

import os
import re

from pipeline import storage
from pipeline.errors import ConfigError, PermanentStorageError

# Set by Ray for the process that it starts for a submitted job, and for no other.
SUBMITTED_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
# What is a path by the letter, and was meant as a URL.
_HALF_A_URL = re.compile(r"(?:file|local|memory|s3a?|gs|gcs|abfss?|az|https?):(?!//)", re.IGNORECASE)


def output_url(flag: str, url: str, *, is_file: bool = False, may_be_done: bool = False) -> str:
    """Returns the absolute URL of an output.

    Args:
        flag: The flag that names it, for the error.
        url: What the user gave.
        is_file: Whether it is one file and no folder.
        may_be_done: Whether there may be nothing left to write, so that a folder that is there is all right on a disk nobody
            may write to; the caller finds that out and does `check_writable` otherwise.

    Raises:
        ConfigError: It is missing, or it is a relative path in a job that was submitted to a cluster: it would lie in Ray's
            temporary copy of the working directory, on whichever node the job landed. Or nothing can be written there.
    """
    if not url:
        raise ConfigError(f"{flag} is missing; expected a path or URL")
    path = storage.local_path(url)
    if _HALF_A_URL.match(url):
        raise ConfigError(f"{flag}: got {url}, expected // after the colon of a URL, or ./{url} for a folder of that name")
    if storage.is_local(url) and path.startswith("~"):
        raise ConfigError(f"{flag}: got {url}, expected a user of this machine after ~, or ./{path} for a folder of that name")
    if SUBMITTED_JOB_VARIABLE in os.environ and storage.is_local(url) and not os.path.isabs(path):  # noqa: PTH117
        raise ConfigError(f"{flag} is the relative path {url}; expected an absolute path or a URL in a submitted job")
    absolute = storage.absolute_url(url)
    if not (may_be_done and storage.is_local(absolute) and storage.is_folder(absolute)):
        check_writable(flag, absolute, is_file=is_file)
    return absolute


def check_writable(flag: str, url: str, *, is_file: bool = False) -> None:
    """Refuses an output where nothing can be written, before the work.

    Args:
        flag: The flag that names it, for the error.
        url: Absolute.
        is_file: Whether it is one file and no folder.

    Raises:
        ConfigError: Nothing can be written there.
    """
    if (trouble := storage.put_trouble(url if is_file else storage.join(url, ".lock"))) is not None:
        raise ConfigError(f"{flag}: got {url}: {trouble}")


def summary_url(url: str | None) -> str | None:
    """Returns the absolute URL of the file for a job's outcome; None where none was asked for.

    Raises:
        ConfigError: As `output_url`, or it is a folder: better now than after the work.
        TransientStorageError: The store does not answer.
    """
    if url is None:
        return None
    url = output_url("--summary", url, is_file=True)
    try:
        if storage.is_folder(url):
            raise ConfigError(f"--summary: got {url}, which is a folder; expected a file")
    except PermanentStorageError as error:
        raise ConfigError(f"--summary: {error}") from error
    return url
