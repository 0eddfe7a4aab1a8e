"""Does a store keep its promise that an object is created once? Some S3 servers take the condition and ignore it."""

import secrets
from concurrent.futures import ThreadPoolExecutor

from pipeline.storage.objects import put_once, read_bytes, remove_tree
from pipeline.storage.urls import join

_WRITERS = 12


def honours_put_once(folder_url: str) -> bool:
    """Whether of twelve writers at once, and one more later, exactly one gets a name and its content stays.

    Leaves nothing behind.

    Args:
        folder_url: A folder that may be written to.

    Raises:
        StorageError: The store could not be asked, or the folder cannot be written to.
    """
    url = join(folder_url, f".probe-{secrets.token_hex(8)}")
    contents = [f"writer {number}".encode() for number in range(_WRITERS)]
    try:
        with ThreadPoolExecutor(_WRITERS) as pool:
            won = list(pool.map(lambda content: put_once(url, content), contents))
        found = read_bytes(url)
        # A lost answer can leave the winner believing that it lost: none is possible, two are not.
        winners = [content for content, first in zip(contents, won, strict=True) if first]
        late = put_once(url, b"too late")
        return len(winners) <= 1 and found in (winners or contents) and not late and read_bytes(url) == found
    finally:
        remove_tree(url)
