"""Damage that came on the way: what is read again is sound, or differs; damage in the data itself is met again."""

from collections.abc import Callable
from typing import TypeVar

from pipeline import storage
from pipeline.errors import CorruptDataError

MAX_READS = 4
"""Times that something is read which comes damaged in ever other ways."""

_Found = TypeVar("_Found")


def reread(read: Callable[[bool], _Found], operation: str) -> _Found:
    """What is read, sound; read again where it is damaged, counted as a retry.

    Args:
        read: Reads it; called with whether this is the first time.
        operation: What the retries are counted under.

    Raises:
        CorruptDataError: The same damage twice, or `MAX_READS` times some damage.
    """
    met = ""
    for _ in range(MAX_READS - 1):
        try:
            return read(not met)
        except CorruptDataError as error:
            if str(error) == met:
                raise
            met = str(error)
            storage.count("retries", operation)
    return read(False)
