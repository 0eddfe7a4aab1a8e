"""Mending the small files of a sample set from what is left of the others; nothing is ever deleted for good."""

from collections.abc import Callable, Iterable, Mapping

from pipeline import storage
from pipeline.errors import CorruptDataError, PermanentStorageError, PermissionDenied, ResumeMismatch
from pipeline.samples.commits import readable_commits
from pipeline.samples.for_people import FOR_PEOPLE
from pipeline.samples.goals import GOALS_NAME, goal_name, goals_of
from pipeline.samples.ledger import PartRecord, commit_name, in_order, parse_commit_name, parse_part_name, part_digest
from pipeline.samples.manifest import load_manifest
from pipeline.samples.origin import load_origin
from pipeline.samples.quarantine import moved_aside
from pipeline.samples.run_spec import run_url
from pipeline.samples.sample_set import SampleSet
from pipeline.samples.seal import is_sealed
from pipeline.samples.tar_part import INDEX_NAMES, SHARD_INDEX_NAME
from pipeline.samples.uncommitted import read_uncommitted, uncommitted_files, uncommitted_record


def set_damaged_aside(url: str) -> list[str]:
    """Moves damaged files under names of parts that are still to be made to `quarantine/`, so that they are made anew.

    For the one job that holds a local folder: nobody takes the kernel's lock from it while it lives, so what it looked at is
    what it moves. The holder of a lease may fall asleep in between and move what another one has put since: on object stores
    nothing is done, and `commit` refuses such a file by name. Nor is anything done in a folder that was no sample set before,
    or to parts of another run. Returns what was done, in lines.

    Raises:
        CorruptDataError: The ledger is damaged.
        StorageError: The file system refused.
    """
    if not storage.is_local(url) or not storage.exists(run_url(url)):
        return []
    samples = SampleSet(url)
    files = list(uncommitted_files(samples.data_url, samples.committed()))
    return [
        moved_aside(samples.url, f"data/{file.url.rpartition('/')[2]}")
        for file in files
        if not is_sealed(storage.read_bytes(file.url), file.suffix)
    ]


def mend_origin(url: str) -> list[str]:
    """Moves a damaged origin.json aside: no other file has what it said, but the next job finds it out anew.

    Raises:
        StorageError: The store could not be read or written.
    """
    try:
        load_origin(url)
        return []
    except CorruptDataError:
        return [f"{moved_aside(url, 'origin.json')}; the next generate job looks for the checkpoint anew and writes it"]


def mend_goals(url: str, check: Callable[[], None] = lambda: None) -> list[str]:
    """Moves files that are no goals aside, and puts goals that had bytes in them anew; returns what was done, in lines.

    Args:
        url: The set's folder.
        check: Called before anything is put or moved; raises where another job took the folder over.

    Raises:
        CommitConflict: From `check`.
        StorageError: The store could not be read or written.
    """
    goals = goals_of(url)
    done = _all_aside(url, [f"{GOALS_NAME}/{name}" for name in goals.strange], check)
    for number in goals.numbers:
        storage.put_once(storage.join(url, GOALS_NAME, goal_name(number)), b"")
    return done


def mend_ledger(url: str, check: Callable[[], None] = lambda: None) -> list[str]:
    """Mends the ledger: commits that are none are moved to `quarantine/`, and so are files that belong to no part.

    Of a commit and a line of the manifest that contradict each other the part's file says which is right. What the manifest
    lists and the ledger lacks is committed again. What a killed job that was to make a published set larger put beyond its rows
    is left to the next such job. Returns what was done, in lines.

    Args:
        url: The set's folder.
        check: Called before anything is put or moved; raises where another job took the folder over.

    Raises:
        CommitConflict: From `check`.
        StorageError: The store could not be read or written.
    """
    done: list[str] = []
    listed = {record.first: record for record in _manifest_parts(url)}
    listed_rows = sum(record.rows for record in listed.values())
    commits_url, data_url = storage.join(url, "commits"), storage.join(url, "data")
    kept: set[int] = set()
    for found in storage.list_objects(commits_url, recursive=True):
        name = found.url[len(commits_url) + 1 :]
        try:
            record = parse_commit_name(name, found.url)
        except CorruptDataError:
            record = None
        if record is not None and not found.size and _is_right(url, record, listed, listed_rows):
            kept.add(record.first)
        else:
            done += _all_aside(url, [f"commits/{name}"], check)
    check()
    for record in listed.values():
        if record.first not in kept and storage.put_once(storage.join(commits_url, commit_name(record)), b""):
            done.append(f"commits: {commit_name(record)} restored from the manifest")
    samples = SampleSet(url)
    beyond = listed_rows if listed and samples.grows() else None
    done += [f"commits: {commit_name(record)} taken from the part itself" for record in samples.adopt(listed_rows or None)]
    files = [found.url[len(data_url) + 1 :] for found in storage.list_objects(data_url, recursive=True)]
    # After the files: what somebody put and committed meanwhile is among the commits then.
    names = {record.name for record in in_order(readable_commits(url), commits_url)} | INDEX_NAMES
    strange = (name for name in files if name not in names and not _belongs_beyond(samples, name, beyond))
    return done + _all_aside(url, (f"data/{name}" for name in strange), check)


def mend_published(url: str, *, was_published: bool) -> list[str]:
    """Makes what readers follow anew from the ledger, where it is damaged or missing; returns what was done, in lines.

    Args:
        url: The set's folder.
        was_published: Whether there was a manifest, and nothing was begun beyond it.

    Raises:
        ResumeMismatch: The ledger has gaps, or the manifest is lost and nobody asked for as many rows as are committed.
        StorageError: The store could not be read or written.
    """
    samples = SampleSet(url)
    records = samples.committed()
    if not was_published or not records:
        return []
    names = {name: storage.join(url, name) for name in ("manifest.json", *FOR_PEOPLE)}
    if records[0].suffix == "tar":
        names[f"data/{SHARD_INDEX_NAME}"] = storage.join(samples.data_url, SHARD_INDEX_NAME)
    rows, goals = records[-1].last + 1, goals_of(url).numbers
    if not _manifest_parts(url) and goals and rows not in goals:
        raise ResumeMismatch(f"got {rows} rows committed, expected as many as a job was to make: {goals} ({url})")
    before = {name: _content(found) for name, found in names.items()}
    samples.publish(rows)
    return [f"{name}: made anew from the ledger" for name, found in names.items() if _content(found) != before[name]]


def _all_aside(url: str, names: Iterable[str], check: Callable[[], None]) -> list[str]:
    """Moves files to `quarantine/`, each after a look that no other job took the folder over; returns that, in lines."""
    done: list[str] = []
    for name in names:
        check()
        done.append(moved_aside(url, name))
    return done


def _belongs_beyond(samples: SampleSet, name: str, beyond: int | None) -> bool:
    """Whether a file is a sound part of rows from `beyond` on; None: there are to be none."""
    named, url = parse_part_name(name), storage.join(samples.data_url, name)
    if beyond is None or named is None or named[0] < beyond:
        return False
    try:
        read_uncommitted(*named, url, samples.spec())
        return True
    except PermissionDenied:
        raise
    except (CorruptDataError, PermanentStorageError):
        return False


def _is_right(url: str, record: PartRecord, listed: Mapping[int, PartRecord], listed_rows: int) -> bool:
    """Whether a commit is to stay: the manifest says the same, or is refuted by the file, or nothing says otherwise.

    Args:
        url: The set's folder.
        record: What the commit says.
        listed: What the manifest says, by first rows.
        listed_rows: Rows in the manifest: from 0 on, without a gap.
    """
    rival = listed.get(record.first)
    if rival == record:
        return True
    contradicted = record.first < listed_rows
    part_url = storage.join(url, "data", record.name)
    try:
        data = storage.read_bytes(part_url)
        if contradicted:
            content = len(data), part_digest(data)
            return (
                rival is not None
                and content == (record.size_bytes, record.xxh3_128)
                and content != (rival.size_bytes, rival.xxh3_128)
            )
        return uncommitted_record(record.first, data, record.suffix, part_url, None) == record
    except PermissionDenied:
        raise
    except (PermanentStorageError, CorruptDataError):
        return not contradicted  # the part is to be made again


def _manifest_parts(url: str) -> list[PartRecord]:
    try:
        return list(load_manifest(url).parts)
    except PermissionDenied:
        raise  # it may well be sound
    except (CorruptDataError, PermanentStorageError):
        return []


def _content(url: str) -> bytes:
    return storage.read_bytes(url) if storage.exists(url) else b""
