"""The ledger as it lies on a store, read by those who can do with a part of it."""

from pipeline import storage
from pipeline.errors import CorruptDataError
from pipeline.samples.ledger import PartRecord, parse_commit_name


def readable_commits(url: str) -> list[PartRecord]:
    """The commits whose names can be read, in the order of their names.

    Args:
        url: The set's folder.

    Raises:
        StorageError: The store could not be read.
    """
    records = []
    for found in storage.list_objects(storage.join(url, "commits")):
        try:
            records.append(parse_commit_name(found.url.rpartition("/")[2], found.url))
        except CorruptDataError:
            continue
    return records
