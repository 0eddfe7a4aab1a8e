"""Samples that cannot be decoded: what is known of one, and the list of all of them that a run found."""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

from pipeline import storage
from pipeline.errors import CorruptDataError

QUARANTINE_NAME = "quarantine.jsonl"
"""The list's name in a run folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptSample:
    """One sample that cannot be decoded, and where it lies."""

    uri: str
    """The shard."""
    offset: int
    """Where the sample begins in the shard, in bytes."""
    key: str
    """The sample's name in the shard."""
    reason: str
    """What is wrong with it, in one line."""


OnCorrupt = Callable[[CorruptSample], object]
"""Called for a sample about to be replaced: returns once the sample is on record, raises where there are too many."""


class Quarantine:
    """The samples that a run could not decode: each listed once, on storage before anybody goes on, held to a budget.

    The list is a file of one JSON object a line. It is read when the quarantine is opened, so a resumed run counts on. One
    process writes it; within that process any thread may add.

    Args:
        url: The file.
        allowed: Samples that may be listed.
    """

    def __init__(self, url: str, allowed: int) -> None:
        self._url, self._allowed = url, allowed
        self._found = {(sample.uri, sample.offset): sample for sample in read_quarantine(url)}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Samples listed."""
        return len(self._found)

    def add(self, sample: CorruptSample) -> bool:
        """Lists a sample; returns whether it was added.

        Raises:
            CorruptDataError: There are more than allowed now; the sample is listed all the same.
            StorageError: The list could not be written.
        """
        place = (sample.uri, sample.offset)
        with self._lock:
            # Once there are too many the run ends; what batches under way still find adds nothing.
            new = place not in self._found and len(self._found) <= self._allowed
            if new:
                listed = {**self._found, place: sample}
                storage.put_replace(self._url, _encode(list(listed.values())))
                self._found = listed
        check_budget(len(self), self._allowed, self._url, sample)
        return new


def read_quarantine(url: str) -> list[CorruptSample]:
    """Returns the samples in a quarantine file, in the order in which they were found; none where there is no file.

    Raises:
        CorruptDataError: The file is no such list.
        StorageError: It could not be read.
    """
    if not storage.exists(url):
        return []
    try:
        return [CorruptSample(**json.loads(line)) for line in storage.read_bytes(url).decode().splitlines()]
    except (ValueError, TypeError) as error:
        raise CorruptDataError(f"expected one JSON object a line with uri, offset, key and reason: {error}", url) from None


def check_budget(found: int, allowed: int, url: str, newest: CorruptSample) -> None:
    """Raises the one error that ends a run with too many damaged samples.

    Args:
        found: Samples listed.
        allowed: Samples that may be.
        url: Where they are listed.
        newest: One of them, to name.

    Raises:
        CorruptDataError: More were found than are allowed.
    """
    if found > allowed:
        raise CorruptDataError(
            f"{found} samples cannot be decoded, at most {allowed} may be (stream.max-corrupt-share); all are listed in {url}, "
            f"one is {newest.key!r}: {newest.reason}",
            newest.uri,
            newest.offset,
        )


def _encode(samples: list[CorruptSample]) -> bytes:
    return "".join(json.dumps(asdict(sample)) + "\n" for sample in samples).encode()
