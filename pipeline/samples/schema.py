"""The columns of a part, and the metadata that make them pictures to Hugging Face `datasets` and traceable to their run."""

import json
from collections.abc import Mapping

import pyarrow as pa

from pipeline.errors import ConfigError

PROVENANCE_KEY = b"swissroll"
_HUGGINGFACE_FEATURES = {
    "index": {"dtype": "int64", "_type": "Value"},
    "image": {"_type": "Image"},
    "label": {"dtype": "int64", "_type": "Value"},
}


def parquet_schema(provenance: Mapping[str, object]) -> pa.Schema:
    """The schema of a part: `index` int64, `image` struct<bytes: binary, path: string>, `label` int64 (null: unlabeled).

    Args:
        provenance: How the samples were made; JSON values. Stored as canonical JSON under the metadata key `swissroll`.

    Raises:
        ConfigError: `provenance` holds something that JSON cannot.
    """
    fields = [
        pa.field("index", pa.int64(), nullable=False),
        pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
        pa.field("label", pa.int64()),
    ]
    metadata: dict[bytes | str, bytes | str] = {
        b"huggingface": canonical_json({"info": {"features": _HUGGINGFACE_FEATURES}}),
        PROVENANCE_KEY: canonical_json(provenance),
    }
    return pa.schema(fields, metadata=metadata)


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
