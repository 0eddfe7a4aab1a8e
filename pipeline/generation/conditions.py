"""A Parquet file of conditions: row i says what sample i is made for."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline import storage
from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError


@dataclass(frozen=True, slots=True)
class Conditions:
    """The columns of the file that generation needs."""

    sha256: str
    """Digest of the whole file."""
    labels: NDArray[np.int64]
    """Class of each sample, int64 [N]."""
    keys: pa.ChunkedArray | None
    """Key of each sample, strings; None where the file has none."""

    def labels_of(self, first: int, rows: int) -> NDArray[np.int64]:
        """Returns the classes of samples [first, first + rows), int64 [rows]; past the last sample, its class goes on."""
        return self.labels[np.minimum(np.arange(first, first + rows), len(self.labels) - 1)]

    def keys_of(self, first: int, rows: int) -> list[str] | None:
        """Returns the keys of samples [first, first + rows), or None."""
        return None if self.keys is None else self.keys.slice(first, rows).to_pylist()


def load_conditions(url: str, num_classes: int, *, sha256: str | None = None) -> Conditions:
    """Returns the conditions in a file: column `label` int, and column `key` (string or int) if there is one.

    Args:
        url: The Parquet file.
        num_classes: Classes the model knows.
        sha256: The digest that the file must have, or None.

    Raises:
        ConfigError: There is no such file, it is no Parquet file, or its columns are not as above.
        CorruptDataError: It has another digest.
        TransientStorageError: The store does not answer.
    """
    try:
        data = storage.read_bytes(url)
    except PermanentStorageError as error:
        raise ConfigError(f"conditions: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise CorruptDataError(f"the conditions changed: got SHA-256 {found[:12]}, expected {sha256[:12]}", url)
    table = _read(data, url)
    return Conditions(found, _labels(table, num_classes, url), _keys(table, url))


def _read(data: bytes, url: str) -> pa.Table:
    """The columns `label` and, if there is one, `key`."""
    try:
        # In this thread, as in samples/part.py: Arrow's own threads may abort a process that ends.
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        there = file.schema_arrow.names
        if there.count("label") != 1 or there.count("key") > 1:
            raise ConfigError(f"conditions: got the columns {there}, expected one label and at most one key ({url})")
        return file.read(["label", *(["key"] if "key" in there else [])], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"conditions: got no readable Parquet file: {' '.join(str(error).split())} ({url})") from error


def _labels(table: pa.Table, num_classes: int, url: str) -> NDArray[np.int64]:
    column = table["label"]
    if not pa.types.is_integer(column.type) or column.null_count or not len(table):
        raise ConfigError(
            f"conditions: got {len(table)} labels of type {column.type}, {column.null_count} of them missing, expected an "
            f"integer in each row ({url})"
        )
    labels = column.to_numpy().astype(np.int64)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ConfigError(
            f"conditions: got classes {labels.min()} to {labels.max()}, expected 0 to {num_classes - 1} ({url})"
            if num_classes
            else f"conditions: got {url}, but the checkpoint's model has no labels"
        )
    return labels


def _keys(table: pa.Table, url: str) -> pa.ChunkedArray | None:
    if "key" not in table.column_names:
        return None
    column = table["key"]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not (pa.types.is_integer(kind) or any(is_text(kind) for is_text in text)):
        raise ConfigError(f"conditions: got keys of type {column.type}, expected strings or integers ({url})")
    if column.null_count:
        raise ConfigError(f"conditions: got {column.null_count} rows without key, expected none ({url})")
    try:
        keys = column.cast(pa.string())
        keys.validate(full=True)
    except pa.ArrowException as error:
        raise ConfigError(f"conditions: got keys that are no text: {' '.join(str(error).split())} ({url})") from error
    return keys
