"""The ledger of a sample set: which rows are committed, which are open. Pure: names in, ranges out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal, NamedTuple, cast

import xxhash

from pipeline.errors import CommitConflict, ConfigError, CorruptDataError, ResumeMismatch

MAX_SAMPLES = 10**12
"""Row indices have 12 digits in names, so that names sort as numbers do."""
MAX_OPEN_PARTS = 10**7
"""Parts that one job may have before it; each takes some 120 bytes of its memory."""

PartSuffix = Literal["parquet", "tar"]
"""File name extension of a part: a Parquet file, or a WebDataset shard."""

_COMMIT_NAME = re.compile(
    r"(?P<first>[0-9]{12})-(?P<last>[0-9]{12})\.(?P<size>0|[1-9][0-9]{0,14})\.(?P<xxh3_128>[0-9a-f]{32})\.(?P<suffix>parquet|tar)"
)
_PART_NAME = re.compile(r"part-(?P<first>[0-9]{12})\.(?P<suffix>parquet|tar)")


class PartRange(NamedTuple):
    """Rows first..first+rows-1."""

    first: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """One committed part: which rows, and the exact bytes that hold them."""

    first: int
    """Index of the first row, from 0."""
    rows: int
    """Number of rows, at least 1."""
    size_bytes: int
    """Size of the file."""
    xxh3_128: str
    """`part_digest` of the file, 32 lower-case hex digits."""
    suffix: PartSuffix = "parquet"
    """What kind of file it is."""

    def __post_init__(self) -> None:
        if self.first < 0 or self.rows < 1 or self.first + self.rows > MAX_SAMPLES:
            raise ConfigError(
                f"PartRecord: got first {self.first} and rows {self.rows}, expected rows within 0..{MAX_SAMPLES - 1}"
            )
        if not 0 <= self.size_bytes < 10**15:
            raise ConfigError(f"PartRecord.size_bytes: got {self.size_bytes}, expected 0 to 10^15")
        if self.suffix not in ("parquet", "tar"):
            raise ConfigError(f"PartRecord.suffix: got {self.suffix!r}, expected parquet or tar")
        if not re.fullmatch("[0-9a-f]{32}", self.xxh3_128):
            raise ConfigError(f"PartRecord.xxh3_128: got {self.xxh3_128!r}, expected 32 lower-case hex digits")

    @property
    def last(self) -> int:
        """Index of the last row."""
        return self.first + self.rows - 1

    @property
    def name(self) -> str:
        """File name of the part."""
        return part_name(self.first, self.suffix)


def part_digest(data: bytes | memoryview) -> str:
    """XXH3-128 of a part's file, as `xxhsum -H128` prints it: finds any damage, at the speed of memory.

    It is no defence against somebody who wants a part to look right: such a person can write the ledger too.
    """
    return xxhash.xxh3_128_hexdigest(data)


def part_name(first: int, suffix: PartSuffix) -> str:
    """File name of the part that begins with row `first`.

    By its first row alone: of two writers who would end a part at different rows (the number of samples was raised in
    between), one gets the name and the other finds it taken. As a part begins where a committed one ends or at a multiple of
    the part size, no two committed parts can ever overlap.
    """
    return f"part-{first:012d}.{suffix}"


def parse_part_name(name: str) -> tuple[int, PartSuffix] | None:
    """First row and kind of the part that `part_name` named so, or None if it did not make this name."""
    match = _PART_NAME.fullmatch(name)
    return None if match is None else (int(match["first"]), cast(PartSuffix, match["suffix"]))


def commit_name(record: PartRecord) -> str:
    """Name of the empty object that commits a part: the whole record, in an order that sorts by row."""
    return f"{record.first:012d}-{record.last:012d}.{record.size_bytes}.{record.xxh3_128}.{record.suffix}"


def parse_commit_name(name: str, uri: str) -> PartRecord:
    """The record that `commit_name` named so.

    Args:
        name: The object's name without its folder.
        uri: The object, for the error.

    Raises:
        CorruptDataError: No record has this name.
    """
    match = _COMMIT_NAME.fullmatch(name)
    if match is None or int(match["last"]) < int(match["first"]):
        raise CorruptDataError(f"got the commit name {name!r}, expected <first>-<last>.<bytes>.<xxh3_128>.<parquet|tar>", uri)
    first = int(match["first"])
    return PartRecord(
        first=first,
        rows=int(match["last"]) - first + 1,
        size_bytes=int(match["size"]),
        xxh3_128=match["xxh3_128"],
        suffix=cast(PartSuffix, match["suffix"]),
    )


def in_order(committed: Iterable[PartRecord], uri: str) -> list[PartRecord]:
    """The records sorted by row.

    Raises:
        CommitConflict: Two records claim the same row.
    """
    records = sorted(committed, key=lambda record: (record.first, record.rows))
    for before, after in pairwise(records):
        if after.first <= before.last:
            problem = f"got two commits for row {after.first}: {commit_name(before)} and {commit_name(after)}, expected one"
            raise CommitConflict(problem, uri)
    return records


def gaps(num_samples: int, committed: Iterable[PartRecord], uri: str = "commits") -> list[PartRange]:
    """The maximal ranges of rows 0..num_samples-1 that no record covers, in order.

    Raises:
        CommitConflict: Two records claim the same row.
        ResumeMismatch: A record lies past `num_samples`.
    """
    if not 0 < num_samples <= MAX_SAMPLES:
        raise ConfigError(f"num_samples: got {num_samples}, expected 1 to {MAX_SAMPLES}")
    records = in_order(committed, uri)
    if records and records[-1].last >= num_samples:
        committed_rows = records[-1].last + 1
        raise ResumeMismatch(f"got {num_samples} samples to make, expected at least the {committed_rows} committed ({uri})")
    found = []
    position = 0
    for record in records:
        if record.first > position:
            found.append(PartRange(position, record.first - position))
        position = record.last + 1
    if position < num_samples:
        found.append(PartRange(position, num_samples - position))
    return found


def open_ranges(num_samples: int, part_rows: int, committed: Iterable[PartRecord], uri: str = "commits") -> list[PartRange]:
    """The parts still to be made, in order: the gaps of [0, num_samples) cut at the multiples of `part_rows`.

    What is committed stays as it is, also parts of another length (the short last one of a run that is now extended).

    Args:
        num_samples: Rows wanted in all.
        part_rows: Rows of a full part, at least 1.
        committed: The records there are, in any order.
        uri: The ledger's folder, for errors.

    Raises:
        CommitConflict: Two records claim the same row.
        ResumeMismatch: A record lies past `num_samples`.
        ConfigError: A number is out of range, or there are more than `MAX_OPEN_PARTS` parts to make.
    """
    if part_rows < 1:
        raise ConfigError(f"part_rows: got {part_rows}, expected at least 1")
    spans = [(gap.first, gap.first + gap.rows) for gap in gaps(num_samples, committed, uri)]
    inner = [range((first // part_rows + 1) * part_rows, stop, part_rows) for first, stop in spans]
    if (count := sum(len(borders) + 1 for borders in inner)) > MAX_OPEN_PARTS:
        raise ConfigError(
            f"num_samples: got {num_samples:,} in parts of {part_rows:,} rows, {count:,} parts to make, expected at most "
            f"{MAX_OPEN_PARTS:,}; raise --part-rows, which needs an output of its own, or ask for fewer ({uri})"
        )
    return [
        PartRange(begin, end - begin)
        for (first, stop), borders in zip(spans, inner, strict=True)
        for begin, end in pairwise(chain((first,), borders, (stop,)))
    ]
