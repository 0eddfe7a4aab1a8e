"""Publishing a complete sample set: the index of shards, the card and the contact sheet, and last the manifest."""

import hashlib
from collections.abc import Sequence

from pipeline import storage
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
    manifest = Manifest(num_samples=num_samples, run_sha256=hashlib.sha256(run).hexdigest(), parts=tuple(records))
    if records[0].suffix == "tar":
        index_url = storage.join(url, "data", SHARD_INDEX_NAME)
        if not storage.exists(index_url) or not is_index_of(storage.read_bytes(index_url), records):
            storage.put_replace(index_url, index_json(records))
    there = manifest_url(url)
    is_published = storage.exists(there) and storage.read_bytes(there) == manifest.to_bytes()
    # The manifest goes last, so where it is, all else was; people may have edited the card since. No part is read then.
    names = list(damage_for_people(url)) if is_published else FOR_PEOPLE
    if names:
        put_for_people(url, manifest, spec, names)
    if not is_published:  # else readers may hold it open
        storage.put_replace(there, manifest.to_bytes())
    return manifest
