"""Images into WebDataset shards: tars that the webdataset library reads, an index, and nothing half-written taken for whole.

The same source packed with the same options gives the same bytes, so a pack that was killed is continued by the same
command: shards that are there are compared, those that are missing are written, and the index, written last, says that
all is there.
"""

import hashlib
import io
import json
from dataclasses import replace
from itertools import islice

from pipeline import storage
from pipeline.errors import ConfigError, ResumeMismatch
from pipeline.shards.digests import DIGESTS_NAME, digest_samples
from pipeline.shards.index import DatasetMeta, Progress, ShardIndex, ShardInfo
from pipeline.shards.index_file import INDEX_NAME, PACKING_NAME, SIDECAR_NAME, encode_index
from pipeline.shards.offsets import MemoryOffsets
from pipeline.shards.places import base_name, is_compressed_tar, is_shard, look_up
from pipeline.shards.scan import scan_members
from pipeline.shards.source import ImageSource, SourceImage
from pipeline.shards.tar_walk import walk_tar
from pipeline.shards.versions import save_versions


def pack(
    source: ImageSource,
    output_url: str,
    *,
    shard_size: int = 500,
    name: str | None = None,
    progress: Progress | None = None,
) -> ShardIndex:
    """The data set that was written: `shard-000000.tar`, ... with `key.png` (or `jpg`, `webp`), `key.cls` and `key.json` for
    every image, `index.json` and its sidecars.

    Args:
        source: The images, in the order they are packed.
        output_url: A folder; new, empty, or with a part of this very data set in it.
        shard_size: Images a shard; the last may have fewer.
        name: What to call the data set; by default the source's name.
        progress: Called as (images packed, images in all) after every shard.

    Raises:
        ConfigError: `shard_size` is below 1.
        ResumeMismatch: The folder holds other shards; nothing was written over.
        CorruptDataError: An image cannot be decoded; the index was not written.
        StorageError: The folder could not be written.
    """
    if shard_size < 1:
        raise ConfigError(f"shard_size is {shard_size}, expected at least 1")
    folder = storage.absolute_url(output_url)
    name = name or source.name
    num_shards = -(-len(source) // shard_size)
    plan = {
        "name": name,
        "num_samples": len(source),
        "shard_size": shard_size,
        "seed": source.seed,
        "class_names": list(source.class_names),
    }
    _refuse_foreign(folder, num_shards)
    _claim(folder, plan)
    images = iter(source)
    shards, arrays, digests, shapes = [], [], [], set()
    done = 0
    for number in range(num_shards):
        samples = list(islice(images, shard_size))
        url = storage.join(folder, shard_name(number))
        data = encode_shard(samples)
        _put_same(url, data)
        arrays.append(scan_members(list(walk_tar(data, url)), url).offsets)
        digests.append(digest_samples(memoryview(data)[arrays[-1][0] :], arrays[-1]))
        shards.append(ShardInfo(url=url, num_samples=len(samples), size_bytes=len(data), digest=f"md5:{_md5(data)}"))
        shapes.update(image.shape for _, image in samples)
        done += len(samples)
        if progress is not None:
            progress(done, len(source))
    meta = DatasetMeta(class_names=source.class_names, image_shape=shapes.pop() if len(shapes) == 1 else None)
    index = ShardIndex(name=name, shards=tuple(shards), offsets=MemoryOffsets(tuple(arrays), tuple(digests)), meta=meta)
    files = encode_index(index, folder)
    for file in (SIDECAR_NAME, DIGESTS_NAME):
        _put_same(storage.join(folder, file), files[file])
    infos = look_up([shard.url for shard in shards])
    found = [replace(shard, version=info.version) for shard, info in zip(shards, infos, strict=True) if info]
    save_versions(folder, index.fingerprint(), found)
    _put_same(storage.join(folder, INDEX_NAME), files[INDEX_NAME])
    storage.remove_tree(storage.join(folder, PACKING_NAME))
    return index


def shard_name(number: int) -> str:
    """The base name of shard number 0, 1, ..."""
    return f"shard-{number:06d}.tar"


def encode_shard(samples: list[tuple[str, SourceImage]]) -> bytes:
    """A tar as webdataset writes it; the same bytes for the same samples: no clock, no user name.

    Args:
        samples: (key, image) pairs; keys without dots, none twice.
    """
    from webdataset.writer import TarWriter  # imports torch, which readers of shards need not wait for

    buffer = io.BytesIO()
    with TarWriter(buffer, encoder=False, mtime=0, user="", group="") as writer:
        for key, image in samples:
            fields: dict[str, str | bytes] = {
                "__key__": key,
                image.extension: image.data,
                "json": json.dumps(dict(image.metadata), sort_keys=True).encode(),
            }
            if image.label is not None:
                fields["cls"] = str(image.label).encode()
            writer.write(fields)
    return buffer.getvalue()


def _refuse_foreign(folder: str, num_shards: int) -> None:
    # A shard that this data set does not have would later be read as part of it, and a compressed one have it refused.
    ours = {shard_name(number) for number in range(num_shards)}
    for entry in storage.list_objects(folder):
        is_data = is_shard(entry.url) or is_compressed_tar(entry.url)
        if is_data and base_name(entry.url) not in ours:
            raise ResumeMismatch(
                f"got an output folder with the foreign shard {entry.url}, expected an empty one or the same data set"
            )


def _claim(folder: str, plan: dict[str, object]) -> None:
    # The plan goes first: it marks the folder as unfinished, and another data set is refused before anything is written.
    index_url = storage.join(folder, INDEX_NAME)
    if storage.exists(index_url):
        return  # complete: every shard will be compared with it
    url = storage.join(folder, PACKING_NAME)
    text = (json.dumps(plan, indent=1) + "\n").encode()
    if storage.put_once(url, text):
        return
    found = storage.read_bytes(url)
    if found != text:
        raise ResumeMismatch(
            f"got an output folder that is being packed as {_one_line(found)}, expected {_one_line(text)}, in {url}"
        )


def _md5(data: bytes) -> str:
    # The digest that webdataset's own index tool writes; it guards against mix-ups, not against attackers.
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _one_line(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())[:300]


def _put_same(url: str, data: bytes) -> None:
    if not storage.put_once(url, data):
        found = storage.read_bytes(url)
        if found != data:
            raise ResumeMismatch(
                f"got an output folder with another {base_name(url)} ({len(found)} bytes, expected these {len(data)}): {url}"
            )
