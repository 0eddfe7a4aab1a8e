"""The dataset card: README.md of a sample set, which Hugging Face `datasets` also reads as its configuration."""

import json
from collections.abc import Mapping

from pipeline.samples.manifest import Manifest
from pipeline.samples.schema import canonical_json

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
    path: data/*.parquet
---

# {num_samples:,} generated samples

{num_samples:,} images sampled from a generative model: none of them is a photograph or a scan. They lie in {num_parts:,}
Parquet {part_word} of together {size} and are sorted by `index`.

| column | type | what |
|---|---|---|
| `index` | int64 | number of the sample, 0 to {last:,}, each once |
| `image` | struct<bytes, path> | the encoded image (`bytes`) and its file name (`path`) |
| `label` | int64 | the class it was made for; null if for none |

## How it was made

Sample `i` is a function of the specification below and of `i`. The specification is in `run.json`, and in the metadata of
every part under the key `swissroll`.

```json
{spec}
```

## How to load it

In these examples `folder` is the path of the folder that holds this file.

```python
# Hugging Face datasets
from datasets import load_dataset

samples = load_dataset(folder, split="train")
picture = samples[0]["image"]
```

```python
# pandas
import io

import pandas as pd
from PIL import Image

samples = pd.read_parquet(f"{{folder}}/data")
picture = Image.open(io.BytesIO(samples["image"][0]["bytes"]))
```

```python
# DuckDB
import duckdb

parts = f"{{folder}}/data/*.parquet"
counts = duckdb.sql(f"SELECT label, count(*) AS samples FROM '{{parts}}' GROUP BY label ORDER BY label").fetchall()
```

```python
# Ray Data
import ray

samples = ray.data.read_parquet(f"{{folder}}/data")
```

## How to trust it

`manifest.json` lists every part with its rows, its size in bytes and its SHA-256 digest; a file in `data/` that it does not
list is no part of the set. The program that wrote this folder checks all of it, every image included, with
`python jobs/verify.py FOLDER`.
"""


def dataset_card(manifest: Manifest, spec: Mapping[str, object]) -> str:
    """The Markdown text of the card: what the set is, how it was made, how to load it; the same for the same set.

    Args:
        manifest: The complete set.
        spec: The run's spec.
    """
    category = next((name for limit, name in _SIZE_CATEGORIES if manifest.num_samples < limit), "n>1B")
    return _CARD.format(
        size_category=category,
        num_samples=manifest.num_samples,
        last=manifest.num_samples - 1,
        num_parts=len(manifest.parts),
        part_word="file" if len(manifest.parts) == 1 else "files",
        size=_size(manifest.size_bytes),
        spec=json.dumps(json.loads(canonical_json(spec)), indent=2, sort_keys=True, ensure_ascii=False),
    )


def _size(size_bytes: int) -> str:
    """A size for people, in decimal units."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} bytes"
