"""The checks that `verify` makes of all but the parts: each looks at one kind of object and notes what is wrong."""

import bisect
import hashlib
from collections.abc import Mapping

from pipeline import storage
from pipeline.errors import CommitConflict, CorruptDataError, PermanentStorageError, PermissionDenied
from pipeline.samples.findings import Findings
from pipeline.samples.for_people import damage_for_people, made_for_people
from pipeline.samples.goals import GOALS_NAME, goals_of
from pipeline.samples.ledger import PartRecord, PartSuffix, commit_name, gaps, in_order, parse_commit_name, parse_part_name
from pipeline.samples.manifest import Manifest, manifest_url
from pipeline.samples.origin import load_origin
from pipeline.samples.run_spec import parse_spec, run_url
from pipeline.samples.tar_part import INDEX_NAMES, SHARD_INDEX_NAME, is_index_of
from pipeline.samples.uncommitted import read_uncommitted


def check_run(url: str, findings: Findings) -> tuple[dict[str, object] | None, str | None]:
    """The run's spec and the digest of run.json; None for what cannot be read.

    Raises:
        PermissionDenied: It may not be read.
        TransientStorageError: The store did not answer.
    """
    try:
        data = storage.read_bytes(run_url(url))
    except PermanentStorageError as error:
        findings.add_damage("run.json", error)
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


def check_origin(url: str, findings: Findings) -> None:
    """Notes an origin.json that the next job could not read.

    Raises:
        PermissionDenied: It may not be read.
        TransientStorageError: The store did not answer.
    """
    try:
        load_origin(url)
    except (CorruptDataError, PermanentStorageError) as error:
        findings.add_damage("origin.json", error)


def ledger_and_manifest(url: str, findings: Findings) -> tuple[list[PartRecord], bytes | str | None]:
    """`check_ledger` and what the manifest holds, both of one moment: a job may commit parts and publish them meanwhile.

    Of the manifest there is a text where it cannot be read, and None where it is not there.

    Raises:
        PermissionDenied: The manifest may not be read.
        StorageError: The store could not be asked.
    """
    content = _manifest_content(url)
    while True:
        found = Findings()
        records = check_ledger(url, found)
        before, content = content, _manifest_content(url)
        if content == before:
            findings.absorb(found)
            return records, content


def check_manifest(
    url: str, content: bytes | str, records: list[PartRecord], run_sha256: str | None, findings: Findings
) -> tuple[Manifest | None, bool]:
    """The manifest, None where it is damaged, and whether nothing was begun beyond it; notes where it and the ledger differ."""
    try:
        if isinstance(content, str):
            raise CorruptDataError(content, manifest_url(url))
        manifest = Manifest.from_bytes(content, manifest_url(url))
    except CorruptDataError as error:
        findings.add(f"manifest.json: {error}")
        _note_gaps(records[-1].last + 1 if records else 1, records, findings)
        return None, True
    if run_sha256 is not None and manifest.run_sha256 != run_sha256:
        findings.add(f"manifest.json: got the digest {manifest.run_sha256} of run.json, expected {run_sha256}")
    within = [record for record in records if record.first < manifest.num_samples]
    for record in sorted(set(manifest.parts) - set(within), key=lambda record: record.first):
        findings.add(f"manifest.json: got a part that is not committed, {commit_name(record)}")
    for record in sorted(set(within) - set(manifest.parts), key=lambda record: record.first):
        findings.add(f"manifest.json: expected the committed part {commit_name(record)}, got none")
    if all(record.last < manifest.num_samples for record in within):
        _note_gaps(manifest.num_samples, within, findings)
    return manifest, len(within) == len(records)


def _note_gaps(num_samples: int, records: list[PartRecord], findings: Findings) -> None:
    for gap in gaps(num_samples, records):
        findings.add(f"commits: got no part for rows {gap.first}..{gap.first + gap.rows - 1} of a published set")


def check_goals(url: str, findings: Findings) -> list[int]:
    """The numbers of rows that were asked for, in order."""
    goals = goals_of(url)
    for name, size in goals.strange.items():
        findings.add(f"{GOALS_NAME}/{name}: got a file of {size} bytes, expected only empty ones named by numbers of samples")
    return goals.numbers


def check_files(
    url: str, records: list[PartRecord], spec: Mapping[str, object] | None, finished: bool, findings: Findings
) -> None:
    """Notes files in data/ that no commit claims; parts that a killed writer left where rows are still open are no problem.

    Nor are those of a job that is making the set larger now: it has put its goal before its first part.
    """
    data_url = storage.join(url, "data")
    names = {record.name for record in records}
    firsts = [record.first for record in records]
    if any(record.suffix == "tar" for record in records):
        names |= INDEX_NAMES
    files = storage.list_objects(data_url, recursive=True)
    rows = records[-1].last + 1 if records else 0
    has_open_rows = not finished or max(goals_of(url).numbers, default=0) > rows
    for found in files:
        name = found.url[len(data_url) + 1 :]
        if name in names:
            continue
        named = parse_part_name(name)
        if named is not None and has_open_rows:
            place = bisect.bisect_right(firsts, named[0])
            if not place or records[place - 1].last < named[0]:
                if problem := _orphan_problem(found.url, *named, spec):
                    findings.add(f"data/{name}: got an uncommitted file that is no part of this set: {problem}")
                continue
        findings.add(f"data/{name}: got a stray file of {found.size} bytes, expected only committed parts")


def check_shard_index(
    url: str, records: list[PartRecord], manifest: Manifest | None, finished: bool, findings: Findings
) -> None:
    """Notes where the index of a published set of shards is not that of its shards.

    Raises:
        PermissionDenied: It may not be read.
        TransientStorageError: The store did not answer.
    """
    if not any(record.suffix == "tar" for record in records):
        return
    where = f"data/{SHARD_INDEX_NAME}"
    try:
        data = storage.read_bytes(storage.join(url, where))
    except PermanentStorageError as error:
        findings.add_damage(where, error)
        return
    # A job killed before its manifest leaves the index of more shards than that has.
    listed = data.count(b'"url"')
    known = [records if finished else records[:listed], () if manifest is None else manifest.parts]
    if any(is_index_of(data, shards) for shards in known):
        return
    # One that is about to publish has put it since the ledger was read, and had committed its shards before.
    now = check_ledger(url, Findings())
    if len(now) == len(records) or not is_index_of(data, now[:listed]):
        findings.add(f"{where}: got {len(data)} bytes that are not the index of the shards, expected that of the manifest")


def check_for_people(url: str, manifest: Manifest | None, spec: Mapping[str, object] | None, findings: Findings) -> None:
    """Notes damage to the card and the contact sheet of a published set; reads its first part."""
    try:
        made = None if manifest is None or spec is None else made_for_people(url, manifest, spec)
    except PermissionDenied:
        raise
    except (CorruptDataError, PermanentStorageError):  # of the first part, as is noted for that
        made = None
    for name, problem in damage_for_people(url, made).items():
        findings.add(f"{name}: {problem}")


def _manifest_content(url: str) -> bytes | str | None:
    try:
        return storage.read_bytes(manifest_url(url)) if storage.is_taken(manifest_url(url)) else None
    except PermissionDenied:
        raise  # what may not be read is not damaged: `repair` would write over it
    except PermanentStorageError as error:
        return error.problem


def _orphan_problem(part_url: str, first: int, suffix: PartSuffix, spec: Mapping[str, object] | None) -> str | None:
    try:
        read_uncommitted(first, suffix, part_url, spec)
    except PermissionDenied:
        raise
    except (CorruptDataError, PermanentStorageError) as error:
        return str(error)
    return None
