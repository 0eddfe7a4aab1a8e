"""The one way for a job to open a data set, whatever the user named it by."""

from dataclasses import replace

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.shards.build import build_index
from pipeline.shards.index import Progress, ShardIndex
from pipeline.shards.index_file import INDEX_NAME, PACKING_NAME, load_index
from pipeline.shards.mixture import is_mixture, load_mixture, mixed
from pipeline.shards.places import base_name, folder_of, is_visible, look_up
from pipeline.shards.urls import expand, unfinished
from pipeline.shards.versions import VERSIONS_NAME, load_versions


def open_data(spec: str, *, progress: Progress | None = None) -> ShardIndex:
    """The data set that `spec` names, checked against the shards as they are now.

    An index file, and a folder that has an `index.json`, are opened by their index; so are shards named one by one or by a
    pattern when the `index.json` of their folder knows them all. Other shards have their headers read.

    Args:
        spec: As `expand_shards`, or a mixture file (`load_mixture`).
        progress: Called as (shards done, shards in all) while headers are read.

    Raises:
        ConfigError: `spec` names nothing usable, a shard that the index names is missing, or a folder holds shards that its
            index does not name.
        CorruptDataError: The index or a shard is damaged, or a shard has another size than in the index, or another version
            than when it was indexed at this place; named.
        StorageError: The store could not be read.
    """
    url = storage.absolute_url(spec)
    if is_mixture(url):
        named = load_mixture(url)
        for name, data, _ in named:
            if is_mixture(data):
                raise ConfigError(f"got the mixture {name} inside the mixture {base_name(url)}, expected a data set")
        parts = [(name, weight, open_data(data, progress=progress)) for name, data, weight in named]
        return mixed(parts, name=base_name(url))
    found = expand(spec)
    if found.index is not None:
        return _checked(found.index, found.index_url)
    urls = found.urls
    folder = folder_of(urls[0])
    if any(folder_of(shard) != folder for shard in urls):
        return build_index(urls, progress=progress)
    index_url = storage.join(folder, INDEX_NAME)
    if not is_visible(index_url):
        if is_visible(storage.join(folder, PACKING_NAME)):
            raise unfinished(folder)
        return build_index(urls, progress=progress)
    index = load_index(index_url)
    numbers = {shard.url: number for number, shard in enumerate(index.shards)}
    unknown = [shard for shard in urls if shard not in numbers]
    if folder == url:  # the folder itself was named
        if unknown:
            raise ConfigError(
                f"got {unknown[0]}, which the folder's {INDEX_NAME} does not name; index again or name the shards"
            )
        return _checked(index, index_url)
    if unknown:
        return build_index(urls, progress=progress)
    return _checked(index.select([numbers[shard] for shard in urls]), index_url, index.fingerprint())


def _checked(index: ShardIndex, index_url: str, fingerprint: str | None = None) -> ShardIndex:
    # The index with every shard's present version, after every shard proved to have the size it had when it was indexed.
    known = load_versions(storage.join(folder_of(index_url), VERSIONS_NAME), fingerprint or index.fingerprint())
    shards = []
    for shard, info in zip(index.shards, look_up([shard.url for shard in index.shards]), strict=True):
        if info is None:
            raise ConfigError(f"got {index_url}, whose shard {shard.url} is missing")
        if info.size != shard.size_bytes:
            raise CorruptDataError(
                f"shard has {info.size} bytes, {index_url} says {shard.size_bytes}: it changed after it was indexed", shard.url
            )
        if info.version and known.get(shard.url, info.version) != info.version:
            raise CorruptDataError(
                f"shard is of version {info.version}, {index_url} was made from {known[shard.url]}: it was written again after "
                "it was indexed; run jobs/index.py to take it as it is",
                shard.url,
            )
        shards.append(replace(shard, version=info.version))
    return replace(index, shards=tuple(shards))
