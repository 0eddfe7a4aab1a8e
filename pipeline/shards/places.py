"""Where shards are: the arithmetic of their URLs, and asking a store about many of them at once."""

import logging
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError, PermissionDenied
from pipeline.storage import ObjectInfo

_THREADS = 16
_COMPRESSED = ("gz", "bz2", "xz", "zst", "lz4", "lzma", "z", "br")
_COMPRESSED_TARS = (".tgz", ".tbz", ".tbz2", ".txz", ".tzst", *(f".tar.{kind}" for kind in _COMPRESSED))
_log = logging.getLogger(__name__)


def is_web(url: str) -> bool:
    """Whether a URL is a web server's: these cannot be listed, and may have a query."""
    return url[:8].lower().startswith(("http://", "https://"))


def base_name(url: str) -> str:
    """The last part of a URL, without the query of a web server's: its ending tells what the file is."""
    return path_of(url).rpartition("/")[2]


def folder_of(url: str) -> str:
    """A URL without its last part, and without the query of a web server's."""
    return path_of(url).rpartition("/")[0]


def path_of(url: str) -> str:
    """A URL without the query and the fragment of a web server's."""
    return re.split("[?#]", url, maxsplit=1)[0] if is_web(url) else url  # other stores have names with such marks


def is_shard(url: str) -> bool:
    """Whether a file that lies in a folder is a shard by its name, in whatever case.

    Hidden ones are none: macOS leaves a `._train-000.tar` beside every `train-000.tar` that it copies to a foreign disk.
    """
    base = base_name(url)
    return base.lower().endswith(".tar") and not base.startswith(".")


def is_compressed_tar(url: str) -> bool:
    """Whether a file that lies in a folder is, by its name, a tar that was compressed; hidden ones are none of the data set."""
    base = base_name(url)
    return base.lower().endswith(_COMPRESSED_TARS) and not base.startswith(".")


def is_compressed(url: str) -> bool:
    """Whether a file that was named as a shard is compressed by its name."""
    return base_name(url).lower().endswith((*_COMPRESSED_TARS, *(f".{kind}" for kind in _COMPRESSED)))


def resolve(folder: str, name: str) -> str:
    """`name` as a URL: itself when it is absolute, else below `folder`.

    Args:
        folder: An absolute URL.
        name: A URL, an absolute path, or a path relative to `folder`.
    """
    if "://" in name or name.startswith(("/", "~")):
        return storage.absolute_url(name)
    return storage.absolute_url(f"{folder}/{name}")


def relative(folder: str, url: str) -> str:
    """`url` as `resolve` needs it: relative when it lies below `folder`, else unchanged.

    Args:
        folder: An absolute URL.
        url: An absolute URL.
    """
    return url.removeprefix(folder + "/")


def is_visible(url: str) -> bool:
    """Whether an optional file is there. One that may not be looked at counts as missing, with a line in the log.

    S3 answers 403 for a missing object, too, to whom it does not show a listing.

    Args:
        url: A file that a data set can do without.

    Raises:
        StorageError: The store could not be asked.
    """
    try:
        return storage.exists(url)
    except PermissionDenied as error:
        _log.warning("going on without %s: %s", base_name(url), error)
        return False


def read_file(url: str) -> bytes:
    """The content of a file that names shards; over `http://` only where two readings are alike.

    A pipe of its name is refused, as reading it could wait for ever.

    Args:
        url: An absolute URL.

    Raises:
        CorruptDataError: Two readings differ; to be met by `reread`.
        PermanentStorageError: There is no such file, or it is none.
        StorageError: It could not be read.
    """
    if storage.is_local(url):
        storage.info(url)
    data = storage.read_bytes(url)
    # Such files have no checksum, and one that names other shards, or other weights, is a file as good as the right one.
    if url.startswith("http://") and storage.read_bytes(url) != data:
        raise CorruptDataError("two readings differ, expected them alike", url)
    return data


def matching(pattern: str) -> list[str]:
    """The URLs that a pattern matches; over `http://`, where a page of links may be the listing, only if two are alike.

    Args:
        pattern: An absolute URL with wildcards.

    Raises:
        CorruptDataError: Two listings differ; to be met by `reread`.
        StorageError: The store could not be asked.
    """
    found = storage.glob(pattern)
    if pattern.startswith("http://") and storage.glob(pattern) != found:
        raise CorruptDataError("two listings differ, expected them alike", pattern)
    return found


def refuse_special(folder: str, specials: Mapping[str, str]) -> None:
    """Refuses a folder in which a pipe, socket or device has the name of a file that would be read.

    Args:
        folder: Its URL.
        specials: What each such name is, as `storage.special_files` tells it.

    Raises:
        ConfigError: There are any.
    """
    for name, kind in specials.items():
        raise ConfigError(f"got the folder {folder}, in which {name} is {kind}; expected plain files")


def refuse_dangling(folder: str, links: Sequence[str]) -> None:
    """Refuses a folder whose files would be fewer than its names: what lies in it is taken for all there is.

    Args:
        folder: Its URL.
        links: Those of its dangling links that are named as files which would be read.

    Raises:
        ConfigError: There are any.
    """
    if links:
        more = f" (and {len(links) - 1} more)" if len(links) > 1 else ""
        raise ConfigError(
            f"got the folder {folder}, but there is no {links[0]}{more}, which is a link to what is not there; expected its "
            "target to be mounted, or fetched (git annex get), or the link to be removed"
        )


def look_up(urls: Sequence[str]) -> list[ObjectInfo | None]:
    """Size and version of every URL, None where nothing is there; one listing a folder where the store lists.

    Args:
        urls: Absolute URLs, in any order and number.

    Raises:
        PermissionDenied: One may not be looked at.
        PermanentStorageError: One is a pipe, a socket or a device.
        StorageError: The store could not be asked.
    """
    folders: dict[str, list[str]] = {}
    for url in urls:
        folders.setdefault(folder_of(url), []).append(url)
    found: dict[str, ObjectInfo] = {}
    single: list[str] = []
    for folder, members in folders.items():
        listed = None if len(members) <= 2 or is_web(folder) else _listed(folder)
        if listed is None:
            single += members
        else:
            found.update((url, listed[base]) for url in members if (base := base_name(url)) in listed)
            # What has a name and is not listed is no file, and is told what it is when it is asked for by itself.
            single += [url for url in members if url not in found and storage.is_local(url) and storage.exists(url)]
    if single:
        with ThreadPoolExecutor(_THREADS) as pool:
            found.update((url, entry) for url, entry in zip(single, pool.map(_info_or_none, single), strict=True) if entry)
    return [found.get(url) for url in urls]


def _listed(folder: str) -> dict[str, ObjectInfo] | None:
    """What is in a folder, by basename, as stores differ in how they spell the folder; None where listing is not allowed."""
    try:
        return {base_name(entry.url): entry for entry in storage.list_objects(folder)}
    except PermissionDenied as error:
        _log.warning("asking for every shard by itself: %s", error)
        return None


def _info_or_none(url: str) -> ObjectInfo | None:
    try:
        return storage.info(url)
    except PermissionDenied:
        raise
    except PermanentStorageError:
        if storage.exists(url) and not storage.is_folder(url):
            raise
        return None
