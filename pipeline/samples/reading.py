"""Reading samples back in the order of their indices."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.samples.ledger import PartRecord, part_digest
from pipeline.samples.manifest import load_manifest
from pipeline.samples.part import decode_part, image_column


@dataclass(frozen=True, slots=True)
class Sample:
    """One generated sample."""

    index: int
    """Its number in the set, from 0."""
    image: bytes
    """The encoded image, or raw pixels."""
    label: int | None
    """The class it was made for; None: unlabeled."""
    key: str | None = None
    """The key of the condition it was made for, where the set has such."""


def samples_of(table: pa.Table) -> Iterator[Sample]:
    """The rows of a part."""
    images = table["pixels"] if "pixels" in table.schema.names else image_column(table, "bytes")
    columns = [table["index"].to_pylist(), images.to_pylist(), table["label"].to_pylist()]
    if "key" in table.schema.names:
        columns.append(table["key"].to_pylist())
    return (Sample(*row) for row in zip(*columns, strict=True))


def read_samples(url: str) -> Iterator[Sample]:
    """The samples of a published set in order of their indices, one part in memory at a time.

    Args:
        url: The set's folder.

    Raises:
        PermanentStorageError: The set has no manifest: it is unfinished, or not there.
        CorruptDataError: The manifest or a part is damaged.
    """
    for record in load_manifest(url).parts:
        yield from samples_of(read_part(url, record))


def read_part(url: str, record: PartRecord) -> pa.Table:
    """The table of a committed part.

    Args:
        url: The set's folder.
        record: The part.

    Raises:
        PermanentStorageError: It is not there.
        CorruptDataError: Its bytes are not those that were committed.
    """
    part_url = storage.join(url, "data", record.name)
    data = storage.read_bytes(part_url)
    if (digest := part_digest(data)) != record.xxh3_128:
        problem = f"got {len(data)} bytes with XXH3-128 {digest}, expected {record.size_bytes} with {record.xxh3_128}"
        raise CorruptDataError(f"{problem}; verify.py --repair makes the part again", part_url)
    return decode_part(data, part_url)
