"""The index of a data set on storage: `index.json` in webdataset's `wids` format, with offsets and checksums in sidecars.

Written: `{"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": ..., "shardlist": [{"url", "nsamples", "filesize",
"md5sum"}], "meta": {"class_names", "num_samples", "image_shape"}, "offsets": "index.offsets.npy", "digests":
"index.xxh3.npy"}`, shard URLs relative to the index where they lie below it, so that a data set can be moved as a folder. The
last three keys are this project's, and `digests` is there only where checksums are known; an index made by webdataset's own
tool lacks them, and may lack all of a shard but `url` and `nsamples`; it is read just as well.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.shards.digests import DIGESTS_NAME
from pipeline.shards.index import MAX_SAMPLES, DatasetMeta, ShardIndex, ShardInfo, sample_digests, sample_offsets
from pipeline.shards.offsets import SidecarOffsets, WalkedOffsets
from pipeline.shards.places import base_name, folder_of, look_up, read_file, relative, resolve
from pipeline.shards.rereading import reread
from pipeline.shards.sidecar import encode_sidecar, sidecar_of
from pipeline.shards.versions import save_versions

INDEX_NAME = "index.json"
"""The index's name in a folder of shards."""

SIDECAR_NAME = "index.offsets.npy"
"""The name, beside the index, of the sidecar that holds offsets."""

PACKING_NAME = "packing.json"
"""Lies in a folder while `pack` fills it; a folder that still has it, and no index, is unfinished."""

KIND = "wids-shard-index-v1"
"""What webdataset calls the format."""


class _Shard(BaseModel):
    model_config = ConfigDict(strict=True)
    url: str
    nsamples: Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
    filesize: Annotated[int, Field(ge=1, lt=2**63)] | None = None  # the format leaves it open
    md5sum: str | None = None
    members: str | None = None


class _Meta(BaseModel):
    model_config = ConfigDict(strict=True)
    class_names: list[str] = []
    image_shape: tuple[int, int, int] | None = None


class _IndexFile(BaseModel):
    model_config = ConfigDict(strict=True)  # keys of other tools are passed over
    kind: Annotated[Literal["wids-shard-index-v1"], Field(alias="__kind__")] = KIND
    wids_version: Literal[1]
    name: str | None = None
    base: str | None = None
    shardlist: Annotated[list[_Shard], Field(min_length=1)]
    datasets: list[object] = []
    meta: _Meta = _Meta()
    offsets: str | None = None
    digests: str | None = None


def load_index(url: str) -> ShardIndex:
    """The data set that an index file describes; shards are looked up only where the file does not say their sizes.

    Args:
        url: The JSON file: written by `save_index`, or by webdataset's `wids-index create`.

    Raises:
        ConfigError: The index joins several data sets, which this reader does not, or a shard of unknown size is missing.
        CorruptDataError: The file is no `wids` index, or names a shard twice.
        StorageError: It could not be read.
    """
    url = storage.absolute_url(url)
    folder = folder_of(url)
    found, urls = reread(lambda _: _index_file(url), "load_index")
    if found.datasets:
        raise ConfigError(f"got an index of {len(found.datasets)} joined data sets, expected one 'shardlist', in {url}")
    shards = tuple(
        ShardInfo(url=at, num_samples=shard.nsamples, size_bytes=size, digest=_digest(shard))
        for shard, at, size in zip(found.shardlist, urls, _sizes(found.shardlist, urls, url), strict=True)
    )
    meta = DatasetMeta(class_names=tuple(found.meta.class_names), image_shape=found.meta.image_shape)
    name = found.name or base_name(folder)
    index = ShardIndex(name=name, shards=shards, offsets=WalkedOffsets(), meta=meta)
    if found.offsets is None:
        return index
    counts, fingerprint = np.diff(index.starts), index.fingerprint()
    offsets = sidecar_of(resolve(folder, found.offsets), fingerprint, counts + 1)  # one more: where the last sample ends
    digests = None if found.digests is None else sidecar_of(resolve(folder, found.digests), fingerprint, counts)
    return ShardIndex(name=name, shards=shards, offsets=SidecarOffsets(offsets, digests), meta=meta)


def _index_file(url: str) -> tuple[_IndexFile, list[str]]:
    """The file, and the URL of every shard in it."""
    try:
        found = _IndexFile.model_validate_json(read_file(url))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CorruptDataError(
            f"not a shard index of kind {KIND!r}: {where}: {first['msg']}; jobs/index.py makes one", url
        ) from None
    folder = folder_of(url)
    base = folder if found.base is None else resolve(folder, found.base)
    urls = [resolve(base, shard.url) for shard in found.shardlist]
    if len(set(urls)) != len(urls):  # a bit that flips in a number makes one name of another
        raise CorruptDataError(f"names the shard {Counter(urls).most_common(1)[0][0]} more than once, expected it once", url)
    return found, urls


def save_index(index: ShardIndex, folder: str) -> str:
    """Write `index.json`, its sidecars and the shards' versions into a folder, the index last; returns the index's URL.

    The bytes of all but the last depend on the index and, through relative URLs, on the folder's place; nothing else. Files
    already there are replaced.

    Args:
        index: The data set; offsets that are not in memory are read first.
        folder: Usually the folder that holds the shards.

    Raises:
        StorageError: A file could not be written, or offsets could not be read.
        CorruptDataError: As `sample_offsets`.
    """
    folder = storage.absolute_url(folder)
    files = encode_index(index, folder)
    text = files.pop(INDEX_NAME)
    for name, data in files.items():
        storage.put_replace(storage.join(folder, name), data)
    save_versions(folder, index.fingerprint(), index.shards)
    url = storage.join(folder, INDEX_NAME)
    storage.put_replace(url, text)
    return url


def encode_index(index: ShardIndex, folder: str) -> dict[str, bytes]:
    """The bytes of the files, by name, for an index that is to lie in `folder`.

    Args:
        index: The data set.
        folder: An absolute URL; shards below it are written relative to it.

    Raises:
        CorruptDataError: As `sample_offsets`.
        StorageError: Offsets could not be read.
    """
    numbers = range(len(index.shards))
    files = {SIDECAR_NAME: encode_sidecar(index.fingerprint(), [sample_offsets(index, shard) for shard in numbers])}
    digests = [found for shard in numbers if (found := sample_digests(index, shard)) is not None]
    if len(digests) == len(numbers):
        files[DIGESTS_NAME] = encode_sidecar(index.fingerprint(), [found.view(np.int64) for found in digests])
    content = {
        "__kind__": KIND,
        "wids_version": 1,
        "name": index.name,
        "shardlist": [
            {
                "url": relative(folder, shard.url),
                "nsamples": shard.num_samples,
                "filesize": shard.size_bytes,
                **_digest_entry(shard.digest),
            }
            for shard in index.shards
        ],
        "meta": {
            "class_names": list(index.meta.class_names),
            "num_samples": index.num_samples,
            "image_shape": index.meta.image_shape,
        },
        "offsets": SIDECAR_NAME,
        **({"digests": DIGESTS_NAME} if DIGESTS_NAME in files else {}),
    }
    return {**files, INDEX_NAME: (json.dumps(content, indent=1) + "\n").encode()}


def _sizes(shards: list[_Shard], urls: list[str], index_url: str) -> Iterator[int]:
    """Yields the size of every shard in bytes, from the store where the index does not have it."""
    unsized = [url for url, shard in zip(urls, shards, strict=True) if shard.filesize is None]
    looked_up = dict(zip(unsized, look_up(unsized), strict=True))
    for url, shard in zip(urls, shards, strict=True):
        if shard.filesize is not None:
            yield shard.filesize
        elif (info := looked_up[url]) is None:
            raise ConfigError(f"got {index_url}, whose shard {url} is missing")
        else:
            yield info.size


def _digest(shard: _Shard) -> str:
    if shard.md5sum:
        return f"md5:{shard.md5sum}"
    return f"members:{shard.members}" if shard.members else ""


def _digest_entry(digest: str) -> dict[str, str]:
    kind, _, value = digest.partition(":")
    return {{"md5": "md5sum"}.get(kind, kind): value} if digest else {}
