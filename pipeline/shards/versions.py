"""Which bytes an index was made from: the store's version of every shard (ETag, or mtime), kept beside the index.

Sizes alone do not tell a shard that was written again: tar pads to blocks. A version belongs to one place, so versions are
kept by absolute URL, and a copy of the data set, whose files have other times, is judged by sizes and by what the headers say.
"""

import json
from collections.abc import Iterable

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.shards.index import ShardInfo
from pipeline.shards.places import is_visible, read_file
from pipeline.shards.rereading import reread

VERSIONS_NAME = "index.versions.json"
"""The file's name beside the index."""


def save_versions(folder: str, fingerprint: str, shards: Iterable[ShardInfo]) -> None:
    """Write the file; one that says the same already stays as it is.

    Args:
        folder: Where the index lies.
        fingerprint: Of the index.
        shards: Its shards; those whose version the store does not tell are left out.

    Raises:
        StorageError: The file could not be written.
    """
    url = storage.join(folder, VERSIONS_NAME)
    versions = {shard.url: shard.version for shard in shards if shard.version}
    text = (json.dumps({"fingerprint": fingerprint, "versions": versions}, indent=1) + "\n").encode()
    if not (storage.exists(url) and storage.read_bytes(url) == text):
        storage.put_replace(url, text)


def load_versions(url: str, fingerprint: str) -> dict[str, str]:
    """The version of every shard at the time it was indexed, by absolute URL; empty where there is no file.

    Args:
        url: The file.
        fingerprint: Of the index beside it; versions that were kept for another index say nothing about this one.

    Raises:
        CorruptDataError: The file is damaged.
        StorageError: It could not be read.
    """
    if not is_visible(url):
        return {}
    return reread(lambda _: _versions_of(url, fingerprint), "load_versions")


def _versions_of(url: str, fingerprint: str) -> dict[str, str]:
    try:
        found = json.loads(read_file(url))
        if found["fingerprint"] != fingerprint:
            return {}
        return {str(shard): str(version) for shard, version in found["versions"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptDataError(f"not the versions of an index: {error!r}", url) from None
