"""Mending the small files of a sample set from what is left of the others; nothing is ever deleted for good."""

import json

from pipeline import storage
from pipeline.errors import CorruptDataError, PermanentStorageError
from pipeline.samples.ledger import PartRecord, commit_name, in_order, parse_commit_name, part_digest
from pipeline.samples.manifest import load_manifest, manifest_url
from pipeline.samples.part import decode_part
from pipeline.samples.run_spec import parse_spec, run_url, spec_bytes
from pipeline.samples.sample_set import SHARD_INDEX_NAME, SampleSet
from pipeline.samples.schema import PROVENANCE_KEY
from pipeline.samples.seal import is_sealed
from pipeline.samples.uncommitted import uncommitted_files

_QUARANTINE = "quarantine"


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
        _moved(samples.url, f"data/{file.url.rpartition('/')[2]}")
        for file in files
        if not is_sealed(storage.read_bytes(file.url), file.suffix)
    ]


def mend_run_spec(url: str) -> list[str]:
    """Puts run.json right from the metadata of a part whose bytes are as committed; returns what was done, in lines.

    Raises:
        CorruptDataError: It is damaged, and no part tells what it was.
        StorageError: The store could not be read or written.
    """
    try:
        parse_spec(storage.read_bytes(run_url(url)), run_url(url))
        return []
    except (CorruptDataError, PermanentStorageError):
        pass
    for record in _readable_commits(url):
        part_url = storage.join(url, "data", record.name)
        try:
            data = storage.read_bytes(part_url)
            if record.suffix != "parquet" or part_digest(data) != record.xxh3_128:
                continue
            metadata = decode_part(data, part_url).schema.metadata or {}
            content = spec_bytes(json.loads(metadata[PROVENANCE_KEY]))
        except (CorruptDataError, PermanentStorageError, KeyError, ValueError):
            continue
        storage.put_replace(run_url(url), content)
        return ["run.json: restored from the metadata of a part"]
    raise CorruptDataError("got a damaged run.json and no undamaged Parquet part that tells what it was", run_url(url))


def set_aside(url: str) -> list[str]:
    """Mends the ledger: commits that are none are moved to `quarantine/`, and so are files that belong to no part.

    What the manifest lists and the ledger lacks is committed again. Returns what was done, in lines.

    Raises:
        StorageError: The store could not be read or written.
    """
    done = []
    listed = _manifest_parts(url)
    known = set(listed or ())
    commits_url, data_url = storage.join(url, "commits"), storage.join(url, "data")
    for found in storage.list_objects(commits_url, recursive=True):
        name = found.url[len(commits_url) + 1 :]
        try:
            record = parse_commit_name(name, found.url)
            good = not found.size and (listed is None or record.first > listed[-1].last or record in known)
        except CorruptDataError:
            good = False
        if not good:
            done.append(_moved(url, f"commits/{name}"))
    for record in listed or ():
        if storage.put_once(storage.join(commits_url, commit_name(record)), b""):
            done.append(f"commits: {commit_name(record)} restored from the manifest")
    SampleSet(url).adopt()
    names = {record.name for record in in_order(_readable_commits(url), commits_url)} | {SHARD_INDEX_NAME}
    for found in storage.list_objects(data_url, recursive=True):
        name = found.url[len(data_url) + 1 :]
        if name not in names:
            done.append(_moved(url, f"data/{name}"))
    return done


def mend_manifest(url: str, *, was_published: bool) -> list[str]:
    """Makes a damaged or missing manifest of a published set anew from the ledger; returns what was done, in lines.

    Args:
        url: The set's folder.
        was_published: Whether there was one.

    Raises:
        ResumeMismatch: The ledger has gaps.
        StorageError: The store could not be read or written.
    """
    samples = SampleSet(url)
    records = samples.committed()
    if not was_published or not records:
        return []
    before = storage.read_bytes(manifest_url(url)) if storage.exists(manifest_url(url)) else b""
    manifest = samples.publish(records[-1].last + 1)
    return [] if manifest.to_bytes() == before else ["manifest.json: made anew from the ledger"]


def _manifest_parts(url: str) -> list[PartRecord] | None:
    try:
        return list(load_manifest(url).parts)
    except (CorruptDataError, PermanentStorageError):
        return None


def _readable_commits(url: str) -> list[PartRecord]:
    records = []
    for found in storage.list_objects(storage.join(url, "commits")):
        try:
            records.append(parse_commit_name(found.url.rpartition("/")[2], found.url))
        except CorruptDataError:
            continue
    return records


def _moved(url: str, name: str) -> str:
    source = storage.join(url, name)
    storage.put_replace(storage.join(url, _QUARANTINE, name), storage.read_bytes(source))
    storage.remove_tree(source)
    return f"{name}: moved to {_QUARANTINE}/"
