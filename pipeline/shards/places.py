"""Where shards are: the arithmetic of their URLs, and asking a store about many of them at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline import storage
from pipeline.errors import PermanentStorageError
from pipeline.storage import ObjectInfo

_THREADS = 16


def base_name(url: str) -> str:
    """The last part of a URL."""
    return url.rpartition("/")[2]


def folder_of(url: str) -> str:
    """A URL without its last part."""
    return url.rpartition("/")[0]


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


def look_up(urls: Sequence[str]) -> list[ObjectInfo | None]:
    """Size and version of every URL, None where nothing is there; one listing a folder where the store can list.

    Args:
        urls: Absolute URLs, in any order and number.

    Raises:
        StorageError: The store could not be asked.
    """
    folders: dict[str, list[str]] = {}
    for url in urls:
        folders.setdefault(folder_of(url), []).append(url)
    found: dict[str, ObjectInfo] = {}
    single: list[str] = []
    for folder, members in folders.items():
        if len(members) <= 2 or folder.startswith(("http://", "https://")):  # HTTP has no listing
            single += members
        else:
            # By basename: stores differ in how they spell the folder in a listing.
            listed = {base_name(entry.url): entry for entry in storage.list_objects(folder)}
            found.update((url, listed[base]) for url in members if (base := base_name(url)) in listed)
    if single:
        with ThreadPoolExecutor(_THREADS) as pool:
            found.update((url, entry) for url, entry in zip(single, pool.map(_info_or_none, single), strict=True) if entry)
    return [found.get(url) for url in urls]


def _info_or_none(url: str) -> ObjectInfo | None:
    try:
        return storage.info(url)
    except PermanentStorageError:
        if storage.exists(url) and not storage.is_folder(url):
            raise
        return None
