"""Objects of a set read before their turn, several at a time: a store takes its time to answer, however small the object."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from pipeline import storage

MOST_READ = 8
"""Objects that are read at the same time."""
MOST_BYTES = 64 * 1024**2
"""Bytes of objects that are in memory at the same time, unless a single one has more."""


def read_ahead(objects: Iterable[tuple[str, int]]) -> Iterator[Callable[[], bytes]]:
    """Yields, for each object, in order, what returns its bytes or raises what came of reading it.

    Files on a local disk are read when they are asked for.

    Args:
        objects: (URL, size in bytes) of each; a size that is wrong makes the bound on memory wrong, and nothing else.
    """
    waiting: deque[tuple[_Reading, int]] = deque()
    in_memory = 0
    for url, num_bytes in objects:
        while waiting and (len(waiting) == MOST_READ or in_memory + num_bytes > MOST_BYTES):
            reading, freed = waiting.popleft()
            yield reading.result
            in_memory -= freed
        waiting.append((_Reading(url), num_bytes))
        in_memory += num_bytes
    for reading, _ in waiting:
        yield reading.result


class _Reading:
    """One object. Its thread ends with the process: whoever stops a job is not to wait for a store that does not answer."""

    def __init__(self, url: str) -> None:
        self._url, self._data, self._error = url, b"", None
        self._thread = None
        if not storage.is_local(url):
            self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
            self._thread.start()

    def result(self) -> bytes:
        """The bytes; asked for once."""
        if self._thread is None:
            return storage.read_bytes(self._url)
        self._thread.join()
        if self._error is not None:
            raise self._error
        data, self._data = self._data, b""
        return data

    def _run(self) -> None:
        try:
            self._data = storage.read_bytes(self._url)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the one's who asks for the bytes)
            self._error = error
