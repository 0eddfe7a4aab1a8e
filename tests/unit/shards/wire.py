"""A way to the store on which bytes change: the first readings of an object come damaged, later ones as they are."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from pipeline import storage

Damage = Callable[[bytes], bytes]


def same(data: bytes) -> bytes:
    return data


def flip(at: int, bit: int = 0) -> Damage:
    """One bit of an answer changes."""
    return lambda data: data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def zeros(first: int) -> Damage:
    """An answer holds only zeros from a byte on."""
    return lambda data: data[:first] + bytes(len(data) - first)


class Wire:
    """Counts the readings of every object, and damages those it was told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.readings: Counter[str] = Counter()
        self._coming: dict[str, list[Damage]] = {}
        read_range, read_bytes = storage.read_range, storage.read_bytes

        def ranged(url: str, start: int, end: int, **more: Any) -> memoryview:
            if start == end:
                return memoryview(b"")  # nobody is asked
            return memoryview(self._carried(url, bytes(read_range(url, start, end, **more))))  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(storage, "read_range", ranged)
        monkeypatch.setattr(storage, "read_bytes", lambda url: self._carried(url, read_bytes(url)))

    def meet(self, name: str, *damage: Damage) -> None:
        """Sets what the next readings of the object of that name meet, one after another, and counts from 0 again."""
        self._coming[name] = list(damage)
        self.readings[name] = 0

    def _carried(self, url: str, data: bytes) -> bytes:
        name = url.rpartition("/")[2]
        self.readings[name] += 1
        coming = self._coming.get(name)
        return coming.pop(0)(data) if coming else data
