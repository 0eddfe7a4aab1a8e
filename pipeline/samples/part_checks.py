"""The check of one part: its bytes, its columns, every image in it."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

import pyarrow as pa
from PIL import Image

from pipeline import storage
from pipeline.errors import CorruptDataError, PermanentStorageError
from pipeline.samples.findings import Findings
from pipeline.samples.ledger import PartRecord, part_digest
from pipeline.samples.part import decode_part, part_problems
from pipeline.samples.reading import samples_of
from pipeline.samples.schema import raw_shape

_UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def part_url_of(url: str, record: PartRecord) -> str:
    """Where a part is."""
    return storage.join(url, "data", record.name)


def check_part(
    url: str,
    record: PartRecord,
    read: Callable[[], bytes],
    spec: Mapping[str, object] | None,
    findings: Findings,
    *,
    decode_images: bool = True,
) -> None:
    """Looks at one part; notes what is not as committed, and counts labels; decodes the images, if asked to.

    Args:
        url: The set's folder.
        record: The committed part.
        read: Returns the part's bytes, or raises what `storage.read_bytes` does.
        spec: The run's spec, or None where it is not known.
        findings: What accumulates.
        decode_images: Whether to decode every image.

    Raises:
        PermissionDenied: It may not be read.
        TransientStorageError: The store did not answer.
    """
    where = f"data/{record.name}"
    part_url = part_url_of(url, record)
    try:
        data = read()
    except PermanentStorageError as error:
        findings.add_damage(where, error)
        findings.broken.add(record)
        return
    digest = part_digest(data)
    if (len(data), digest) != (record.size_bytes, record.xxh3_128):
        findings.add(
            f"{where}: got {len(data)} bytes with XXH3-128 {digest}, expected {record.size_bytes} with {record.xxh3_128}"
        )
        findings.broken.add(record)
        return  # what is damaged is not worth parsing
    try:
        table = decode_part(data, part_url)
    except CorruptDataError as error:
        findings.add(f"{where}: {error}")
        return
    problems = part_problems(table, first=record.first, rows=record.rows, provenance=spec)
    for problem in problems:
        findings.add(f"{where}: {problem}")
    columns = str(table.schema.remove_metadata())
    findings.columns = findings.columns or columns
    if columns != findings.columns:
        findings.add(f"{where}: got other columns than the parts before it")
    if not problems:
        findings.labels.update(table["label"].to_pylist())
        for problem in _image_problems(table, findings) if decode_images else ():
            findings.add(f"{where}: {problem}")


def _image_problems(table: pa.Table, findings: Findings) -> Iterator[str]:
    """Decodes every image."""
    shape = raw_shape(table.schema)
    for sample in samples_of(table):
        if shape is not None:
            size = shape[1], shape[0]
        else:
            try:
                with Image.open(io.BytesIO(sample.image)) as image:
                    image.load()
                    size = image.size
            except _UNDECODABLE as error:
                problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
                yield f"row {sample.index}: got no readable image: {problem}"
                continue
        findings.image_size = findings.image_size or size
        if size != findings.image_size:
            got, expected = ("x".join(map(str, pixels)) for pixels in (size, findings.image_size))
            yield f"row {sample.index}: got an image of {got} pixels, expected {expected}"
