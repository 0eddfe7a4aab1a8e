"""The dataset card: README.md of a sample set, which Hugging Face `datasets` also reads as its configuration."""

import json
import math
from collections.abc import Mapping

import pyarrow as pa

from pipeline.samples.card_examples import loading
from pipeline.samples.contact_sheet import SHEET_NAME
from pipeline.samples.manifest import Manifest
from pipeline.samples.schema import canonical_json, raw_shape

_SIZE_CATEGORIES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)

_CARD = """\
---
pretty_name: Generated samples
tags:
- synthetic
- image-generation
size_categories:
- {size_category}
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*.{suffix}
---

# {num_samples:,} generated samples

{num_samples:,} images sampled from a generative model: none of them is a photograph or a scan. They lie in {num_parts:,}
{part_word} of together {size} and are sorted by `index`.
{sheet}
{columns}

## How it was made

Sample `i` is a function of the specification below and of `i`. {where_spec}

```json
{spec}
```

## How to load it

In these examples `folder` is the path or the URL of the folder that holds this file; the first one, which finds the parts,
goes before each of the others. {loading}

## How to trust it

`manifest.json` lists every part with its rows, its size in bytes and its XXH3-128 digest; a file in `data/` that it does not
list is no part of the set. The program that wrote this folder checks all of it, every image included, with
`python jobs/verify.py FOLDER`. The Hugging Face Hub, and `load_dataset` with this folder, read every `data/*.{suffix}`, as the
head of this file says: that is right for a finished set of which `verify.py` says ok.
"""

_INDEX_ROW = "| `index` | int64 | number of the sample, 0 to {last:,}, each once |"
_IMAGE_ROW = "| `image` | struct<bytes, path> | the encoded image (`bytes`) and its file name (`path`) |"
_PIXELS_ROW = "| `pixels` | binary({length}) | uint8 pixels of shape {shape}: height, width, channels |"
_LABEL_ROW = "| `label` | int64 | the class it was made for; null if for none |"
_KEY_ROW = "| `key` | string | the key of the condition it was made for |"

_TAR_COLUMNS = """\
Each sample is `NUMBER.png` (or `jpg`, `webp`), `NUMBER.cls` with its class where it was made for one, and `NUMBER.json` with
`index`, `label`, `key` and the digest of the specification. `data/index.json` is the index of the shards."""

CARD_NAME = "README.md"
"""The card's name in the folder of a set."""


def dataset_card(manifest: Manifest, spec: Mapping[str, object], schema: pa.Schema, *, sheet: bool = False) -> str:
    """The Markdown text of the card: what the set is, how it was made, how to load it; the same for the same set.

    Args:
        manifest: The complete set.
        spec: The run's spec.
        schema: The columns of its parts.
        sheet: Whether the contact sheet lies beside the card.
    """
    category = next((name for limit, name in _SIZE_CATEGORIES if manifest.num_samples < limit), "n>1B")
    suffix = manifest.parts[0].suffix
    word = "Parquet file" if suffix == "parquet" else "WebDataset shard"
    where = "It is in `run.json`, and in the metadata of\nevery part under the key `swissroll`."
    return _CARD.format(
        size_category=category,
        suffix=suffix,
        num_samples=manifest.num_samples,
        num_parts=len(manifest.parts),
        part_word=word if len(manifest.parts) == 1 else f"{word}s",
        size=_size(manifest.size_bytes),
        sheet=f"\n![the first samples]({SHEET_NAME})\n" if sheet else "",
        columns=_TAR_COLUMNS if suffix == "tar" else _columns(manifest, schema),
        where_spec=where if suffix == "parquet" else "It is in `run.json`.",
        spec=json.dumps(json.loads(canonical_json(spec)), indent=2, sort_keys=True, ensure_ascii=False),
        loading=loading(suffix, schema),
    )


def _columns(manifest: Manifest, schema: pa.Schema) -> str:
    shape = raw_shape(schema)
    rows = ["| column | type | what |", "|---|---|---|", _INDEX_ROW.format(last=manifest.num_samples - 1)]
    rows.append(_IMAGE_ROW if shape is None else _PIXELS_ROW.format(length=math.prod(shape), shape=list(shape)))
    rows.append(_LABEL_ROW)
    if "key" in schema.names:
        rows.append(_KEY_ROW)
    return "\n".join(rows)


def _size(size_bytes: int) -> str:
    """A size for people, in decimal units."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} bytes"
