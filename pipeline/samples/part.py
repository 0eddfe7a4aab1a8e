"""One part: encoding samples as a Parquet file or a WebDataset shard, and reading a file back with doubt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import CorruptDataError
from pipeline.samples.ledger import MAX_SAMPLES, PartSuffix
from pipeline.samples.schema import PROVENANCE_KEY, parquet_schema, raw_shape
from pipeline.samples.seal import OPEN_SEAL, SEAL_KEY, seal
from pipeline.samples.tar_part import PROVENANCE_SHA256_KEY, decode_tar, encode_tar, provenance_sha256, samples_in_tar

_ROW_GROUP_ROWS = 1024
_UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""What pyarrow raises for damaged files; ValueError: a name in the footer that is no UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRows:
    """What a part holds."""

    first: int
    """Index of the first sample."""
    images: Sequence[bytes] | NDArray[np.uint8]
    """Encoded images, or raw pixels as uint8 [N, H, W, C]; at least one, in the order of their indices."""
    labels: Sequence[int] | None = None
    """One label an image, or None for unlabeled samples."""
    keys: Sequence[str] | None = None
    """One key of a condition an image, or None."""
    extension: str = "png"
    """The images' file extension, without a dot."""

    def __post_init__(self) -> None:
        rows = len(self.images)
        if rows < 1 or self.first < 0 or self.first + rows > MAX_SAMPLES:
            raise ValueError(
                f"got first {self.first} and {rows} images, expected at least one image and rows within 0..{MAX_SAMPLES - 1}"
            )
        for name, values in (("labels", self.labels), ("keys", self.keys)):
            if values is not None and len(values) != rows:
                raise ValueError(f"got {len(values)} {name}, expected {rows}: one an image")
        if not self.extension.isalnum():
            raise ValueError(f"got the extension {self.extension!r}, expected letters and digits")
        if isinstance(self.images, np.ndarray) and (self.images.dtype != np.uint8 or self.images.ndim != 4):
            raise ValueError(f"got raw pixels {self.images.dtype} {list(self.images.shape)}, expected uint8 [N, H, W, C]")


def encode_part(rows: PartRows, provenance: Mapping[str, object], suffix: PartSuffix = "parquet") -> bytes | memoryview:
    """The file of a part, sealed; the same arguments give the same bytes.

    Args:
        rows: The samples.
        provenance: How the samples were made: the spec of the run.
        suffix: The kind of file.

    Raises:
        ConfigError: `provenance` holds something that JSON cannot.
        ValueError: Raw pixels in a tar.
    """
    if suffix == "tar":
        if isinstance(rows.images, np.ndarray):
            raise ValueError("got raw pixels for a tar, expected encoded images")
        return encode_tar(rows.first, rows.images, rows.labels, rows.keys, rows.extension, provenance)
    count = len(rows.images)
    raw = rows.images if isinstance(rows.images, np.ndarray) else None
    height, width, channels = (0, 0, 0) if raw is None else raw.shape[1:]
    shape = None if raw is None else (height, width, channels)
    schema = parquet_schema(provenance, shape=shape, keyed=rows.keys is not None)
    columns: list[pa.Array] = [pa.array(np.arange(rows.first, rows.first + count, dtype=np.int64))]
    if raw is None:
        paths = [f"{index:012d}.{rows.extension}" for index in range(rows.first, rows.first + count)]
        pair = [pa.array(rows.images, pa.binary()), pa.array(paths, pa.string())]
        columns.append(pa.StructArray.from_arrays(pair, fields=list(schema.field("image").type)))
    else:
        buffers = [None, pa.py_buffer(np.ascontiguousarray(raw))]
        columns.append(pa.FixedSizeBinaryArray.from_buffers(schema.field("pixels").type, count, buffers))
    labels = rows.labels
    columns.append(pa.nulls(count, pa.int64()) if labels is None else pa.array([int(label) for label in labels], pa.int64()))
    if rows.keys is not None:
        columns.append(pa.array(rows.keys, pa.string()))
    plain = ["index", "label", *(["key"] if rows.keys is not None else [])]
    # Encoded images are compressed already, and raw pixels are for those who want speed. Statistics on images would copy whole
    # ones into the footer. Checksums of pages would say less than the seal, and for raw pixels take as long as all else.
    image_codecs = {"image.bytes": "NONE", "image.path": "ZSTD"} if raw is None else {"pixels": "NONE"}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema,
        compression=dict.fromkeys(plain, "ZSTD") | image_codecs,  # pyright: ignore[reportArgumentType]
        use_dictionary=False,
        write_statistics=plain,  # pyright: ignore[reportArgumentType]
        sorting_columns=[pq.SortingColumn(0)],
    ) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=_ROW_GROUP_ROWS)
        writer.add_key_value_metadata({SEAL_KEY: OPEN_SEAL})
    file = memoryview(sink.getvalue()).cast("B")
    seal(file, suffix)
    return file


def decode_part(data: bytes | memoryview, uri: str) -> pa.Table:
    """The table in a part's bytes, with its metadata; a shard's samples become the same columns.

    Args:
        data: The file.
        uri: Where it lies; its ending says what kind of file it is.

    Raises:
        CorruptDataError: The bytes are no such file.
    """
    if uri.endswith(".tar"):
        return decode_tar(data, uri)
    try:
        # In this thread: one of Arrow's own that lets go of the bytes while the process ends aborts it (2 in 300 times).
        table = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(use_threads=False)
        _ = table.schema.names  # decoded only now
        return table
    except _UNREADABLE as error:
        raise CorruptDataError(f"got no readable Parquet file: {' '.join(str(error).split())}", uri) from error


def rows_in(data: bytes | memoryview, uri: str) -> int:
    """Number of rows of a part, from its footer or headers alone.

    Raises:
        CorruptDataError: The bytes are no such file.
    """
    if uri.endswith(".tar"):
        return samples_in_tar(data, uri)
    try:
        return pq.read_metadata(pa.BufferReader(data)).num_rows
    except _UNREADABLE as error:
        raise CorruptDataError(f"got no readable Parquet file: {' '.join(str(error).split())}", uri) from error


def part_problems(table: pa.Table, *, first: int, rows: int, provenance: Mapping[str, object] | None) -> list[str]:
    """What is wrong with a part that should hold rows first..first+rows-1, each in one line; empty if nothing is.

    Args:
        table: What `decode_part` read.
        first: Index of the first row.
        rows: Number of rows.
        provenance: The spec of the run, or None where it is not known.
    """
    shape = raw_shape(table.schema)
    expected = parquet_schema({} if provenance is None else provenance, shape=shape, keyed="key" in table.schema.names)
    if not table.schema.equals(expected, check_metadata=False):
        return [f"got the columns {_columns(table.schema)}, expected {_columns(expected)}"]
    found, wanted = table.schema.metadata or {}, expected.metadata
    problems = []
    if PROVENANCE_SHA256_KEY in found:
        if provenance is not None and found[PROVENANCE_SHA256_KEY] != provenance_sha256(provenance).encode():
            problems.append("got a provenance other than run.json")
    else:
        if found.get(b"huggingface") != wanted[b"huggingface"]:
            problems.append("got other Hugging Face metadata than those of its columns")
        if provenance is not None and found.get(PROVENANCE_KEY) != wanted[PROVENANCE_KEY]:
            problems.append("got a provenance other than run.json")
    # The number first: a damaged ledger may claim more rows than there is memory for.
    if table.num_rows != rows or not np.array_equal(table["index"].to_numpy(), np.arange(first, first + rows)):
        problems.append(
            f"got {table.num_rows} rows with {_indices(table)}, expected {first}..{first + rows - 1} each once, in order"
        )
    if shape is not None:
        if nulls := table["pixels"].null_count:
            problems.append(f"got {nulls} rows without pixels, expected none")
        return problems
    for column in ("bytes", "path"):
        if nulls := image_column(table, column).null_count:
            problems.append(f"got {nulls} rows without image {column}, expected none")
    paths = image_column(table, "path").to_pylist()
    stems = [path.partition(".")[0] if path else "" for path in paths]
    if stems != [f"{index:012d}" for index in table["index"].to_pylist()]:
        problems.append("got image paths that are not the rows' indices")
    return problems


def image_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The field `bytes` or `path` of the image column; null where the whole image is null."""
    chunks = [chunk.flatten()[chunk.type.get_field_index(name)] for chunk in table["image"].chunks]
    return pa.chunked_array(chunks, table.schema.field("image").type.field(name).type)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}{'' if field.nullable else ' not null'}" for field in schema)


def _indices(table: pa.Table) -> str:
    indices = table["index"].to_numpy()
    return f"indices {indices.min()}..{indices.max()} ({len(np.unique(indices))} distinct)" if len(indices) else "no index"
