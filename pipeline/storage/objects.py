"""The operations on objects: the right store for a URL, retries around it, the same promises everywhere."""

from pipeline.storage.cache import Bytes, RangeCache
from pipeline.storage.info import ObjectInfo
from pipeline.storage.local import LocalStore
from pipeline.storage.ranges import fetch_range
from pipeline.storage.remote import RemoteStore
from pipeline.storage.retry import retrying
from pipeline.storage.urls import absolute_url, is_local

_LOCAL = LocalStore()
_REMOTE = RemoteStore()


def exists(url: str) -> bool:
    """Whether an object or a folder has this name.

    Raises:
        StorageError: The store could not be asked.
    """
    store, url = _find(url)
    return retrying("exists", url, lambda: store.exists(url))


def is_folder(url: str) -> bool:
    """Whether `url` is a folder: for object stores, whether objects lie below the name. HTTP has none.

    Raises:
        StorageError: The store could not be asked.
    """
    store, url = _find(url)
    return retrying("is_folder", url, lambda: store.is_folder(url))


def info(url: str) -> ObjectInfo:
    """Size and version of one object.

    Raises:
        PermanentStorageError: There is no such object, it is a folder, pipe, socket or device, or it may not be looked at.
        TransientStorageError: The store did not answer.
    """
    store, url = _find(url)
    return retrying("info", url, lambda: store.info(url))


def list_objects(folder_url: str, recursive: bool = False) -> list[ObjectInfo]:
    """The objects in a folder, sorted by URL, as they are now: never from a cached listing.

    Args:
        folder_url: The folder; where there is none the list is empty.
        recursive: Whether to list what is in subfolders too.

    Returns:
        Files only; what killed writers left aside is not shown, nor a link to what is not there (`dangling_links`),
        nor what can only be waited for (`special_files`).

    Raises:
        StorageError: The store could not be asked.
    """
    store, url = _find(folder_url)
    return sorted(retrying("list_objects", url, lambda: store.list_objects(url, recursive)), key=lambda found: found.url)


def dangling_links(folder_url: str, recursive: bool = False) -> list[str]:
    """The links in a folder whose targets are not there, sorted: `list_objects` leaves them out.

    They are what an unmounted disk or git-annex, before it fetched the content, leaves. For a caller whose input is
    whatever lies in a folder; where another list names what belongs there, that list tells what is missing.

    Args:
        folder_url: The folder; only local ones have links.
        recursive: Whether to look into subfolders too.

    Raises:
        StorageError: The file system refused.
    """
    store, url = _find(folder_url)
    if not isinstance(store, LocalStore):
        return []
    return sorted(retrying("dangling_links", url, lambda: store.dangling_links(url, recursive)))


def special_files(folder_url: str, recursive: bool = False) -> dict[str, str]:
    """What each named pipe, socket or device in a folder is, in words, by its URL, sorted: `list_objects` leaves them out.

    Args:
        folder_url: The folder; only local ones have such.
        recursive: Whether to look into subfolders too.

    Raises:
        StorageError: The file system refused.
    """
    store, url = _find(folder_url)
    if not isinstance(store, LocalStore):
        return {}
    return dict(sorted(retrying("special_files", url, lambda: store.special_files(url, recursive)).items()))


def glob(pattern_url: str) -> list[str]:
    """The URLs that match a pattern with `*`, `?`, `[...]` or `**`, sorted.

    Raises:
        StorageError: The store could not be asked.
    """
    store, url = _find(pattern_url)
    return sorted(retrying("glob", url, lambda: store.glob(url)))


def read_bytes(url: str, *, or_pipe: bool = False) -> bytes:
    """The whole content of one object.

    Args:
        url: The object.
        or_pipe: Whether it may be a local pipe or device, as of `<(...)` in a shell: for what the user names on the command
            line and is read once. Anywhere else nobody would write to it, and it would be waited for without end.

    Raises:
        PermanentStorageError: There is no such object, it is a pipe, socket or device, or it may not be read.
        TransientStorageError: The store did not answer.
    """
    store, url = _find(url)
    if or_pipe and isinstance(store, LocalStore):
        return retrying("read_bytes", url, lambda: store.read_bytes(url, or_pipe=True))
    return retrying("read_bytes", url, lambda: store.read_bytes(url))


def is_object(url: str) -> bool:
    """Whether there is an object of this name that can be read: on local disks a plain file, or a link to one.

    Raises:
        StorageError: The store could not be asked.
    """
    store, url = _find(url)
    if isinstance(store, LocalStore):
        return retrying("is_object", url, lambda: store.is_file(url))
    return exists(url) and not is_folder(url)


def server_of(url: str) -> str:
    """The address of the server that an `s3://` URL leads to, which a URL does not tell; empty for all others.

    Args:
        url: An object or folder.
    """
    store, url = _find(url)
    return store.server_of(url) if isinstance(store, RemoteStore) else ""


def read_range(
    url: str, start: int, end: int, *, version: str = "", cache: RangeCache | None = None, into: memoryview | None = None
) -> Bytes:
    """Exactly the bytes start..end-1 of an object; an empty range is empty without asking the store.

    After a transient fault reading goes on at the byte reached, in the same version of the object.

    Args:
        url: The object.
        start: First byte, from 0.
        end: One past the last byte, at least `start`.
        version: The version that is wanted, as `info` told it; empty for the present one, whichever it is.
        cache: Where ranges of a known version are kept on this node.
        into: Memory of the range's size that is filled and returned where nothing is cached; other memory where it is None.

    Raises:
        PermanentStorageError: The object is missing, is of another version, or ends before `end`: a short read is never
            handed on.
        TransientStorageError: The store did not answer.
    """
    if not 0 <= start <= end:
        raise ValueError(f"got the range [{start}, {end}), expected 0 <= start <= end")
    if start == end:
        return b""
    store, url = _find(url)
    if cache is None:
        return fetch_range(store, url, start, end, version, into=into)
    return cache.read(url, start, end, version, lambda: fetch_range(store, url, start, end, version, into=into))


def put_once(url: str, data: Bytes) -> bool:
    """True if this call created the object, False if the name was already taken, by whatever content.

    The object becomes visible whole or not at all, and is never changed. Local: written aside, synced, linked. S3: one
    conditional PUT. If the answer to a first attempt was lost, False can mean that the attempt had created it: who must
    know compares the content.

    Raises:
        PermanentStorageError: Full disk, no permission, or a store without a conditional put.
        TransientStorageError: The store did not answer; the object may or may not be there.
    """
    store, url = _find(url)
    return retrying("put_once", url, lambda: store.put_once(url, data))


def put_replace(url: str, data: Bytes) -> None:
    """Give an object this content at once: readers see the old content or the new, never a mixture.

    Raises:
        PermanentStorageError: Full disk, no permission, or a store without whole-object puts.
        TransientStorageError: The store did not answer; the object holds the old content or the new.
    """
    store, url = _find(url)
    retrying("put_replace", url, lambda: store.put_replace(url, data))


def remove_partials(folder_url: str, recursive: bool = False) -> int:
    """Remove what killed writers left aside in a folder; returns how many files that were.

    For the one job that holds the folder: a writer of another one that still lives fails, and nothing of it is seen. Object
    stores keep nothing of a put that broke off; there it does nothing.

    Args:
        folder_url: The folder; nothing happens where there is none.
        recursive: Whether to look into subfolders too: only where none of them can be another job's.

    Raises:
        StorageError: The file system refused.
    """
    store, url = _find(folder_url)
    if not isinstance(store, LocalStore):
        return 0
    return retrying("remove_partials", url, lambda: store.remove_partials(url, recursive))


def remove_tree(url: str) -> None:
    """Remove a folder and everything below it, or one object; nothing happens where the name is free.

    Raises:
        StorageError: The store refused, or could not be asked.
    """
    store, url = _find(url)
    retrying("remove_tree", url, lambda: store.remove_tree(url))


def _find(url: str) -> tuple[LocalStore | RemoteStore, str]:
    """The store that holds `url`, and the URL's one spelling."""
    return (_LOCAL if is_local(url) else _REMOTE), absolute_url(url)
