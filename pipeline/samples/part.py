"""One part: encoding samples as a Parquet file, and reading a file back with doubt."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import CorruptDataError
from pipeline.samples.ledger import MAX_SAMPLES
from pipeline.samples.schema import PROVENANCE_KEY, parquet_schema

_ROW_GROUP_ROWS = 1024


def encode_part(
    *,
    first: int,
    images: Sequence[bytes],
    labels: Sequence[int] | None,
    provenance: Mapping[str, object],
    extension: str = "png",
) -> bytes:
    """A Parquet file of samples first..first+len(images)-1; the same arguments give the same bytes.

    Args:
        first: Index of the first sample.
        images: Encoded images, at least one, in the order of their indices.
        labels: One label an image, or None for unlabeled samples.
        provenance: How the samples were made: the spec of the run.
        extension: The images' file extension, without a dot.

    Raises:
        ConfigError: `provenance` holds something that JSON cannot.
        ValueError: The numbers of images and labels differ, or a row would be out of range.
    """
    rows = len(images)
    if rows < 1 or first < 0 or first + rows > MAX_SAMPLES:
        raise ValueError(
            f"got first {first} and {rows} images, expected at least one image and rows within 0..{MAX_SAMPLES - 1}"
        )
    if labels is not None and len(labels) != rows:
        raise ValueError(f"got {len(labels)} labels, expected {rows}: one an image")
    if not extension.isalnum():
        raise ValueError(f"got the extension {extension!r}, expected letters and digits")
    schema = parquet_schema(provenance)
    paths = [f"{index:012d}.{extension}" for index in range(first, first + rows)]
    image_type = schema.field("image").type
    columns = [
        pa.array(np.arange(first, first + rows, dtype=np.int64)),
        pa.StructArray.from_arrays([pa.array(images, pa.binary()), pa.array(paths, pa.string())], fields=list(image_type)),
        pa.nulls(rows, pa.int64()) if labels is None else pa.array([int(label) for label in labels], pa.int64()),
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=schema),
        sink,
        row_group_size=_ROW_GROUP_ROWS,
        # Images are compressed already; statistics on them would copy whole images into the footer.
        compression={"index": "ZSTD", "image.bytes": "NONE", "image.path": "ZSTD", "label": "ZSTD"},  # pyright: ignore[reportArgumentType]
        use_dictionary=False,
        write_statistics=["index", "label"],  # pyright: ignore[reportArgumentType]
        sorting_columns=[pq.SortingColumn(0)],
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def decode_part(data: bytes, uri: str) -> pa.Table:
    """The table in a part's bytes, with its metadata.

    Raises:
        CorruptDataError: The bytes are no Parquet file.
    """
    try:
        return pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataError(f"got no readable Parquet file: {' '.join(str(error).split())}", uri) from error


def rows_in(data: bytes, uri: str) -> int:
    """Number of rows of a part, from its footer alone.

    Raises:
        CorruptDataError: The bytes are no Parquet file.
    """
    try:
        return pq.read_metadata(pa.BufferReader(data)).num_rows
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataError(f"got no readable Parquet file: {' '.join(str(error).split())}", uri) from error


def part_problems(table: pa.Table, *, first: int, rows: int, provenance: Mapping[str, object] | None) -> list[str]:
    """What is wrong with a part that should hold rows first..first+rows-1, each in one line; empty if nothing is.

    Args:
        table: What `decode_part` read.
        first: Index of the first row.
        rows: Number of rows.
        provenance: The spec of the run, or None where it is not known.
    """
    expected = parquet_schema({} if provenance is None else provenance)
    if not table.schema.equals(expected, check_metadata=False):
        return [f"got the columns {_columns(table.schema)}, expected {_columns(expected)}"]
    found, wanted = table.schema.metadata or {}, expected.metadata
    problems = []
    if found.get(b"huggingface") != wanted[b"huggingface"]:
        problems.append("got other Hugging Face metadata than those of index, image and label")
    if provenance is not None and found.get(PROVENANCE_KEY) != wanted[PROVENANCE_KEY]:
        problems.append("got a provenance other than run.json")
    if not np.array_equal(table["index"].to_numpy(), np.arange(first, first + rows)):
        problems.append(
            f"got {table.num_rows} rows with {_indices(table)}, expected {first}..{first + rows - 1} each once, in order"
        )
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
