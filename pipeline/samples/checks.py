"""The single checks that `verify` is made of: each looks at one kind of object and notes what is wrong."""

import bisect
import hashlib
import io
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from PIL import Image

from pipeline import storage
from pipeline.errors import CommitConflict, CorruptDataError, PermanentStorageError
from pipeline.samples.ledger import (
    PartRecord,
    PartSuffix,
    commit_name,
    gaps,
    in_order,
    parse_commit_name,
    parse_part_name,
    part_digest,
)
from pipeline.samples.manifest import load_manifest, manifest_url
from pipeline.samples.part import decode_part, part_problems
from pipeline.samples.reading import samples_of
from pipeline.samples.run_spec import parse_spec, run_url
from pipeline.samples.sample_set import SHARD_INDEX_NAME, SampleSet
from pipeline.samples.schema import raw_shape
from pipeline.samples.uncommitted import uncommitted_record

_KEPT_PROBLEMS = 100
_UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


@dataclass(slots=True)
class Findings:
    """What accumulates over the parts; its size does not grow with the set."""

    problems: list[str] = field(default_factory=list)
    """The first hundred, each in one line."""
    more_problems: int = 0
    """How many more there were."""
    labels: Counter[int | None] = field(default_factory=Counter)
    """Rows by label."""
    image_size: tuple[int, int] | None = None
    """Width and height of the first image, in pixels: all others must be like it."""
    columns: str = ""
    """Columns of the first part: all others must have the same."""
    broken: set[PartRecord] = field(default_factory=set)
    """Committed parts whose bytes are not those that were committed."""

    def add(self, problem: str) -> None:
        """Note one problem."""
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(problem)
        else:
            self.more_problems += 1

    def like(self) -> "Findings":
        """New findings that expect of further parts what these do."""
        return Findings(image_size=self.image_size, columns=self.columns)

    def absorb(self, other: "Findings") -> None:
        """Add what was found in further parts, in their order."""
        for problem in other.problems:
            self.add(problem)
        self.more_problems += other.more_problems
        self.labels.update(other.labels)
        self.broken |= other.broken
        self.image_size = self.image_size or other.image_size
        self.columns = self.columns or other.columns

    def all_problems(self) -> tuple[str, ...]:
        """The problems, and how many were left out."""
        more = (f"and {self.more_problems} more problems",) if self.more_problems else ()
        return (*self.problems, *more)


def check_run(url: str, findings: Findings) -> tuple[dict[str, object] | None, str | None]:
    """The run's spec and the digest of run.json; None for what cannot be read."""
    try:
        data = storage.read_bytes(run_url(url))
    except PermanentStorageError as error:
        findings.add(f"run.json: {error}")
        return None, None
    try:
        spec = parse_spec(data, run_url(url))
    except CorruptDataError as error:
        findings.add(f"run.json: {error}")
        spec = None
    return spec, hashlib.sha256(data).hexdigest()


def check_ledger(url: str, findings: Findings) -> list[PartRecord]:
    """The commits that can be, in order; of two for one row only the first."""
    commits_url = storage.join(url, "commits")
    records: list[PartRecord] = []
    for found in storage.list_objects(commits_url, recursive=True):
        name = found.url[len(commits_url) + 1 :]
        try:
            record = parse_commit_name(name, found.url)
        except CorruptDataError as error:
            findings.add(f"commits: {error}")
            continue
        if found.size:
            findings.add(f"commits/{name}: got {found.size} bytes, expected an empty object")
        try:
            in_order([*records[-1:], record], commits_url)
        except CommitConflict as error:
            findings.add(f"commits: {error}")
            continue
        records.append(record)
    return records


def check_manifest(url: str, records: list[PartRecord], run_sha256: str | None, findings: Findings) -> bool:
    """Whether the set was published and nothing was begun beyond it; notes where the manifest and the ledger differ."""
    if not storage.exists(manifest_url(url)):
        return False
    try:
        manifest = load_manifest(url)
    except CorruptDataError as error:
        findings.add(f"manifest.json: {error}")
        _note_gaps(records[-1].last + 1 if records else 1, records, findings)
        return True
    if run_sha256 is not None and manifest.run_sha256 != run_sha256:
        findings.add(f"manifest.json: got the digest {manifest.run_sha256} of run.json, expected {run_sha256}")
    within = [record for record in records if record.first < manifest.num_samples]
    for record in sorted(set(manifest.parts) - set(within), key=lambda record: record.first):
        findings.add(f"manifest.json: got a part that is not committed, {commit_name(record)}")
    for record in sorted(set(within) - set(manifest.parts), key=lambda record: record.first):
        findings.add(f"manifest.json: expected the committed part {commit_name(record)}, got none")
    if all(record.last < manifest.num_samples for record in within):
        _note_gaps(manifest.num_samples, within, findings)
    return len(within) == len(records)


def _note_gaps(num_samples: int, records: list[PartRecord], findings: Findings) -> None:
    for gap in gaps(num_samples, records):
        findings.add(f"commits: got no part for rows {gap.first}..{gap.first + gap.rows - 1} of a published set")


def check_goal(url: str, findings: Findings) -> int | None:
    """How many rows an unfinished set is to have, or None."""
    try:
        return SampleSet(url).goal()
    except CorruptDataError as error:
        findings.add(f"goals: {error}")
        return None


def check_files(
    url: str, records: list[PartRecord], spec: Mapping[str, object] | None, finished: bool, findings: Findings
) -> None:
    """Notes files in data/ that no commit claims; parts that a killed writer left where rows are still open are no problem."""
    data_url = storage.join(url, "data")
    names = {record.name for record in records}
    firsts = [record.first for record in records]
    if finished and any(record.suffix == "tar" for record in records):
        names.add(SHARD_INDEX_NAME)
    for found in storage.list_objects(data_url, recursive=True):
        name = found.url[len(data_url) + 1 :]
        if name in names:
            continue
        named = parse_part_name(name)
        if named is not None and not finished:
            place = bisect.bisect_right(firsts, named[0])
            if not place or records[place - 1].last < named[0]:
                if problem := _orphan_problem(found.url, *named, spec):
                    findings.add(f"data/{name}: got an uncommitted file that is no part of this set: {problem}")
                continue
        findings.add(f"data/{name}: got a stray file of {found.size} bytes, expected only committed parts")


def _orphan_problem(part_url: str, first: int, suffix: PartSuffix, spec: Mapping[str, object] | None) -> str | None:
    try:
        uncommitted_record(first, storage.read_bytes(part_url), suffix, part_url, spec)
    except (CorruptDataError, PermanentStorageError) as error:
        return str(error)
    return None


def check_part(
    url: str, record: PartRecord, spec: Mapping[str, object] | None, findings: Findings, *, decode_images: bool = True
) -> None:
    """Reads one part; notes what is not as committed, and counts labels; decodes the images, if asked to."""
    where = f"data/{record.name}"
    part_url = storage.join(url, "data", record.name)
    try:
        data = storage.read_bytes(part_url)
    except PermanentStorageError as error:
        findings.add(f"{where}: {error}")
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
