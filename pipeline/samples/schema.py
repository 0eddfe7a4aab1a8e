"""The columns of a part, and the metadata that make them pictures to Hugging Face `datasets` and traceable to their run."""

import json
import math
from collections.abc import Mapping

import pyarrow as pa

from pipeline.errors import ConfigError

PROVENANCE_KEY = b"swissroll"
SHAPE_KEY = b"swissroll.shape"
_INT64 = {"dtype": "int64", "_type": "Value"}


def parquet_schema(
    provenance: Mapping[str, object], *, shape: tuple[int, int, int] | None = None, keyed: bool = False
) -> pa.Schema:
    """The schema of a part: `index` int64, `image` struct<bytes: binary, path: string>, `label` int64 (null: unlabeled).

    Args:
        provenance: How the samples were made; JSON values. Stored as canonical JSON under the metadata key `swissroll`.
        shape: For raw pixels, (height, width, channels): instead of `image` there is `pixels`, uint8 in C order as a binary
            of fixed size, and the shape as JSON under the metadata key `swissroll.shape`.
        keyed: Whether a column `key` string says which condition each sample was made for.

    Raises:
        ConfigError: `provenance` holds something that JSON cannot.
    """
    fields = [pa.field("index", pa.int64(), nullable=False)]
    features: dict[str, object] = {"index": _INT64}
    if shape is None:
        fields.append(pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])))
        features["image"] = {"_type": "Image"}
    else:
        fields.append(pa.field("pixels", pa.binary(math.prod(shape))))
        features["pixels"] = {"dtype": "binary", "_type": "Value"}
    fields.append(pa.field("label", pa.int64()))
    features["label"] = _INT64
    if keyed:
        fields.append(pa.field("key", pa.string()))
        features["key"] = {"dtype": "string", "_type": "Value"}
    metadata: dict[bytes | str, bytes | str] = {
        b"huggingface": canonical_json({"info": {"features": features}}),
        PROVENANCE_KEY: canonical_json(provenance),
    }
    if shape is not None:
        metadata[SHAPE_KEY] = json.dumps(list(shape)).encode()
    return pa.schema(fields, metadata=metadata)


def raw_shape(schema: pa.Schema) -> tuple[int, int, int] | None:
    """(height, width, channels) of a schema with raw pixels; None for one with encoded images, or where it is damaged."""
    try:
        shape = tuple(json.loads((schema.metadata or {}).get(SHAPE_KEY, b"null")))
    except (ValueError, TypeError, RecursionError):
        return None
    plain = len(shape) == 3 and all(type(length) is int and 0 < length < 2**20 for length in shape)
    return shape if plain and math.prod(shape) < 2**31 else None


def canonical_json(value: Mapping[str, object]) -> bytes:
    """The one UTF-8 JSON text of a mapping: sorted keys, no spaces, no NaN; equal mappings give equal bytes.

    Raises:
        ConfigError: The mapping holds something that JSON cannot.
    """
    try:
        text = json.dumps(dict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"got a value that JSON cannot hold ({error}), expected strings, numbers, lists and mappings"
        ) from error
