"""Where a job writes: an absolute URL, whoever starts the job from wherever."""

import os

from pipeline import storage
from pipeline.errors import ConfigError

# Set by Ray for the process that it starts for a submitted job, and for no other.
SUBMITTED_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def output_url(flag: str, url: str) -> str:
    """Returns the absolute URL of an output.

    Args:
        flag: The flag that names it, for the error.
        url: What the user gave.

    Raises:
        ConfigError: It is missing, or it is a relative path in a job that was submitted to a cluster: it would lie in Ray's
            temporary copy of the working directory, on whichever node the job landed.
    """
    if not url:
        raise ConfigError(f"{flag} is missing; expected a path or URL")
    path = os.path.expanduser(url.removeprefix("file://").removeprefix("local://"))  # noqa: PTH111 (text in, text out)
    if SUBMITTED_JOB_VARIABLE in os.environ and storage.is_local(url) and not os.path.isabs(path):  # noqa: PTH117
        raise ConfigError(f"{flag} is the relative path {url}; expected an absolute path or a URL in a submitted job")
    return storage.absolute_url(url)


def summary_url(url: str | None) -> str | None:
    """Returns the absolute URL of the file for a job's outcome; None where none was asked for.

    Raises:
        ConfigError: As `output_url`.
    """
    return None if url is None else output_url("--summary", url)
