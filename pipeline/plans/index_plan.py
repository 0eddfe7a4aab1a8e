"""The plan of an indexing job: which shards, and where the index goes."""

from dataclasses import dataclass, field, replace

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.plans.output_folder import output_url
from pipeline.shards import INDEX_NAME, DatasetMeta, expand_shards, load_index

REPLACED_SUFFIX = ".replaced"
"""At the end of the name under which a file is kept that stood in the index's place and is none."""


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """An indexing job that is ready to start."""

    urls: list[str]
    """The shards, absolute, in the data set's order."""
    output: str
    """Folder for the index, absolute."""
    name: str | None = None
    """Name of the data set in an index that is there already."""
    meta: DatasetMeta = field(default_factory=DatasetMeta)
    """Class names and image shape in an index that is there already."""
    checksums: bool = False
    """Whether a checksum of every sample is kept, for which all shards are read whole."""
    with_md5: frozenset[str] = frozenset()
    """Shards of which it has a digest of all bytes: those are read whole, so that unchanged data stays the same data set."""
    warning: str = ""
    """What to say before the job starts: the file in the index's place is no index."""

    def keep_replaced(self) -> None:
        """Copies the file in the index's place aside where it is no index: it may be the only copy of something else.

        Raises:
            StorageError: It could not be copied.
        """
        if self.warning:
            url = storage.join(self.output, INDEX_NAME)
            storage.put_replace(url + REPLACED_SUFFIX, storage.read_bytes(url))


def plan_indexing(shards: str, output: str, checksums: bool = False) -> IndexPlan:
    """Returns the plan of an indexing job.

    Args:
        shards: What the user named them by, see `expand_shards`.
        output: Folder for the index; empty for the one that holds the shards.
        checksums: Whether to keep a checksum of every sample; an index that has them already keeps them in any case.

    Raises:
        ConfigError: No shards are named or found, what names them is damaged or cannot be read, or they lie in several folders
            or on a store that is only read, and no output is given.
        StorageError: The store could not be asked.
    """
    if not shards:
        raise ConfigError("--shards is missing; expected a path or URL")
    try:
        urls = expand_shards(shards)
    except CorruptDataError as error:
        raise ConfigError(f"{error}; to index again, name the shards instead") from error
    except PermanentStorageError as error:
        raise ConfigError(str(error)) from error
    if output:
        return _continued(IndexPlan(urls, output_url("--output", output), checksums=checksums))
    folders = {url.rpartition("/")[0] for url in urls}
    if len(folders) > 1:
        raise ConfigError(f"--output is missing; the shards lie in {len(folders)} folders, expected one folder for the index")
    if urls[0].startswith(("http://", "https://")):
        raise ConfigError(f"--output is missing; {urls[0]} is on a web server, which takes no index")
    return _continued(IndexPlan(urls, storage.absolute_url(folders.pop()), checksums=checksums))


def _continued(plan: IndexPlan) -> IndexPlan:
    url = storage.join(plan.output, INDEX_NAME)
    if not storage.exists(url):
        return plan
    try:
        known = load_index(url)
    except (CorruptDataError, ConfigError) as error:
        warning = (
            f"{error}; it is replaced, and kept as {url}{REPLACED_SUFFIX}: a name, class names or digests in it do not count"
        )
        return replace(plan, warning=warning)
    with_md5 = frozenset(shard.url for shard in known.shards if shard.digest.startswith("md5:"))
    checksums = plan.checksums or known.has_digests
    return replace(plan, name=known.name, meta=known.meta, checksums=checksums, with_md5=with_md5)
