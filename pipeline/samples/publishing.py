"""Publishing a complete sample set: the index of shards, the card and the contact sheet, and last the manifest."""

import hashlib
from collections.abc import Sequence

from pipeline import storage
from pipeline.errors import PermanentStorageError, PermissionDenied
from pipeline.samples.for_people import FOR_PEOPLE, damage_for_people, put_for_people
from pipeline.samples.ledger import PartRecord
from pipeline.samples.manifest import Manifest, manifest_url
from pipeline.samples.run_spec import parse_spec, run_url
from pipeline.samples.tar_part import SHARD_INDEX_NAME, index_json, is_index_of


def publish_parts(url: str, num_samples: int, records: Sequence[PartRecord]) -> Manifest:
    """The manifest of a complete set, put in place for readers together with all else that they follow.

    Args:
        url: The set's folder.
        num_samples: Rows in all.
        records: The committed parts in order, which together hold exactly these rows.

    Raises:
        CorruptDataError: run.json, or the first part, which the contact sheet shows, is damaged.
        StorageError: The store could not be read or written.
    """
    run = storage.read_bytes(run_url(url))
    spec = parse_spec(run, run_url(url))
    manifest = _manifest(run, num_samples, records)
    if not _has_index(url, records):
        storage.put_replace(storage.join(url, "data", SHARD_INDEX_NAME), index_json(records))
    is_published = _is_there(url, manifest)
    # The manifest goes last, so where it is, all else was; people may have edited the card since. No part is read then.
    names = list(damage_for_people(url)) if is_published else FOR_PEOPLE
    if names:
        put_for_people(url, manifest, spec, names)
    if not is_published:  # else readers may hold it open
        storage.put_replace(manifest_url(url), manifest.to_bytes())
    return manifest


def is_whole(url: str, num_samples: int, records: Sequence[PartRecord]) -> bool:
    """Whether `publish_parts` would find all in place and put nothing; no part is read.

    Args:
        url: The set's folder.
        num_samples: Rows in all.
        records: The committed parts in order, which together hold exactly these rows.

    Raises:
        StorageError: The store could not be read.
    """
    manifest = _manifest(storage.read_bytes(run_url(url)), num_samples, records)
    return _is_there(url, manifest) and _has_index(url, records) and not damage_for_people(url)


def _manifest(run: bytes, num_samples: int, records: Sequence[PartRecord]) -> Manifest:
    return Manifest(num_samples=num_samples, run_sha256=hashlib.sha256(run).hexdigest(), parts=tuple(records))


def _is_there(url: str, manifest: Manifest) -> bool:
    there = manifest_url(url)
    return storage.exists(there) and _content(there) == manifest.to_bytes()


def _has_index(url: str, records: Sequence[PartRecord]) -> bool:
    """Whether the index of shards is right, where there is to be one."""
    if records[0].suffix != "tar":
        return True
    index_url = storage.join(url, "data", SHARD_INDEX_NAME)
    return storage.exists(index_url) and is_index_of(_content(index_url), records)


def _content(url: str) -> bytes:
    try:
        return storage.read_bytes(url)
    except PermissionDenied:
        raise
    except PermanentStorageError as error:  # a folder or a pipe is in the way
        raise PermanentStorageError(f"{error.problem}; verify.py --repair moves it to quarantine/", url) from error
