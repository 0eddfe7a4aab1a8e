"""Parts that a writer put and did not commit, as it was killed in between: each has to prove itself."""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.samples.ledger import PartRecord, PartSuffix, parse_part_name, part_digest
from pipeline.samples.part import decode_part, part_problems
from pipeline.samples.seal import is_sealed


class Uncommitted(NamedTuple):
    """A file that has the name of a part which is still to be made."""

    url: str
    first: int
    suffix: PartSuffix


def uncommitted_files(data_url: str, committed: Sequence[PartRecord]) -> Iterator[Uncommitted]:
    """The files under names of parts whose first row no commit covers; from one listing, nothing is read.

    Args:
        data_url: The folder of the parts.
        committed: The committed parts, in order.
    """
    firsts = [record.first for record in committed]
    for found in storage.list_objects(data_url):
        named = parse_part_name(found.url.rpartition("/")[2])
        if named is None:
            continue
        place = bisect.bisect_right(firsts, named[0])
        if not place or committed[place - 1].last < named[0]:
            yield Uncommitted(found.url, *named)


def read_uncommitted(first: int, suffix: PartSuffix, part_url: str, spec: Mapping[str, object] | None) -> PartRecord:
    """`uncommitted_record` of the file that lies at `part_url`.

    Raises:
        CorruptDataError: As there.
        StorageError: It could not be read.
    """
    return uncommitted_record(first, storage.read_bytes(part_url), suffix, part_url, spec)


def uncommitted_record(
    first: int, data: bytes | memoryview, suffix: PartSuffix, part_url: str, spec: Mapping[str, object] | None
) -> PartRecord:
    """The record of a file that nobody has committed yet, if it is, to the byte, a part that a writer of this set put.

    That it can be decoded would not do: many a flipped bit only changes a pixel, a name or the number of samples found.

    Args:
        first: Index of its first row.
        data: The file.
        suffix: What kind of file it is.
        part_url: Where it lies.
        spec: The run's spec, or None where it is not known.

    Raises:
        CorruptDataError: It is damaged, or a part of something else.
    """
    if not is_sealed(data, suffix):
        problem = "got a damaged file that nobody committed, expected a part with the digest that it carries"
        raise CorruptDataError(f"{problem}; verify.py --repair moves it to quarantine/", part_url)
    table = decode_part(data, part_url)
    problems = part_problems(table, first=first, rows=table.num_rows, provenance=spec)
    if problems or not table.num_rows:
        raise CorruptDataError(problems[0] if problems else "got a part without rows", part_url)
    return PartRecord(first=first, rows=table.num_rows, size_bytes=len(data), xxh3_128=part_digest(data), suffix=suffix)
