"""`quarantine/`: where a set keeps what was taken out of it; nothing is ever deleted for good, nor written over."""

from collections.abc import Iterator
from itertools import accumulate, count

from pipeline import storage

_FOLDER = "quarantine"


def moved_aside(url: str, name: str) -> str:
    """Moves an object of a set to `quarantine/`; returns a line that says so.

    What lies there under its name stays, and it gets a name of its own, in `quarantine/2/`, `quarantine/3/` and so on. One that
    somebody removed from an object store since it was listed is in nobody's way any more.

    Args:
        url: The set's folder.
        name: The object's name in it; on a local disk a folder, a link that leads nowhere or, say, a pipe may be there instead.

    Raises:
        StorageError: The store could not be read or written.
    """
    source = storage.join(url, name)
    if storage.is_object(source):
        place = kept_aside(url, name, storage.read_bytes(source))
        storage.remove_tree(source)
    elif not storage.is_local(url):
        return f"{name}: removed by somebody else meanwhile"
    else:
        place = next(place for place in _places() if _is_free(url, place, name))
        storage.rename(source, storage.join(url, place, name))
    return f"{name}: moved to {place}/"


def kept_aside(url: str, name: str, data: bytes) -> str:
    """Keeps a copy of what an object of a set holds; returns the folder in the set that has it.

    A copy that is there already, as from a repair that was killed before it had removed the object, is not made again.

    Args:
        url: The set's folder.
        name: The object's name in it.
        data: Its content.

    Raises:
        StorageError: The store could not be read or written.
    """
    for place in _places():
        there = storage.join(url, place, name)
        if _is_free(url, place, name):
            storage.put_replace(there, data)
            return place
        if storage.is_object(there) and storage.read_bytes(there) == data:
            return place
    raise AssertionError  # there is always another one


def _places() -> Iterator[str]:
    yield _FOLDER
    for number in count(2):
        yield f"{_FOLDER}/{number}"


def _is_free(url: str, place: str, name: str) -> bool:
    """Whether neither this name nor, by a file, that of a folder in it is taken."""
    *folders, _ = accumulate([place, *name.split("/")], lambda above, below: f"{above}/{below}")
    files = (storage.join(url, folder) for folder in folders)
    in_the_way = any(storage.is_taken(above) and not storage.is_folder(above) for above in files)
    return not in_the_way and not storage.is_taken(storage.join(url, place, name))
