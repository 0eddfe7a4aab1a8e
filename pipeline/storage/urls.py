"""Addresses: plain paths for local objects, `scheme://...` for all others."""

import os
import re

from pipeline.errors import ConfigError

_LOCAL_SCHEME = re.compile(r"^(?:file|local)://", re.IGNORECASE)
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*(?=://)")  # the only one, and not the first of a chain


def is_local(url: str) -> bool:
    """Whether `url` names something on this machine's file system: a plain path, `file://` or `local://`."""
    return _LOCAL_SCHEME.match(url) is not None or ("://" not in url and "::" not in url)


def local_path(url: str) -> str:
    """The path that a local URL names, `~` expanded where there is such a user; not yet absolute."""
    return os.path.expanduser(_LOCAL_SCHEME.sub("", url))  # noqa: PTH111 (text in, text out)


def absolute_url(url: str) -> str:
    """The one spelling of `url` that does not depend on the working directory.

    Local paths become absolute plain paths with `~` expanded; other URLs stay as they are, without trailing slashes (but for
    those of a query, which may be signed) and with their scheme in lower case.

    Raises:
        ConfigError: `url` is empty, or has a NUL byte, which no store takes.
    """
    if "\0" in url:
        raise ConfigError(f"got {url!r:.200} with a NUL byte, expected a path or a URL; is the text that it is from UTF-16?")
    if not url.strip():
        raise ConfigError(f"got {url!r}, expected a path or a URL")
    if is_local(url):
        return os.path.abspath(local_path(url))  # noqa: PTH100 (text in, text out)
    url = _SCHEME.sub(lambda scheme: scheme[0].lower(), url)
    if url.startswith(("http://", "https://")) and "?" in url:
        return url
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rstrip('/')}"


def join(url: str, *names: str) -> str:
    """The object or folder `names` below the folder `url`: one slash between the parts, none at the end."""
    parts = [absolute_url(url).rstrip("/"), *(stripped for name in names if (stripped := name.strip("/")))]
    return "/".join(parts)


def scheme_of(url: str) -> str:
    """The part before `://`, such as `s3`; empty for local paths."""
    return "" if is_local(url) else url.partition("://")[0]
