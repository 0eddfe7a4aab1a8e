"""The card's section on loading: the parts that the manifest lists, and the readers that take them."""

import pyarrow as pa

from pipeline.samples.ledger import PartSuffix
from pipeline.samples.schema import raw_shape

# Not the folder `data/`, which may hold what no manifest lists: strays, and parts of a set that is being extended.
_PARTS = """\
```python
# The parts of the set
import json

import fsspec

with fsspec.open(f"{folder}/manifest.json") as file:
    parts = [f"{folder}/{part['path']}" for part in json.load(file)["parts"]]
```"""

_DATASETS = """\
```python
# Hugging Face datasets
import glob

from datasets import load_dataset

samples = load_dataset("parquet", data_files=[glob.escape(part) for part in parts], split="train")
picture = samples[0]["image"]
```"""

_DATASETS_RAW = """\
```python
# Hugging Face datasets
import glob

import numpy as np
from datasets import load_dataset

samples = load_dataset("parquet", data_files=[glob.escape(part) for part in parts], split="train")
picture = np.frombuffer(samples[0]["pixels"], np.uint8).reshape(SHAPE)
```"""

_PANDAS = """\
```python
# pandas
import io

import pandas as pd
from PIL import Image

samples = pd.concat(map(pd.read_parquet, parts), ignore_index=True)
picture = Image.open(io.BytesIO(samples["image"][0]["bytes"]))
```"""

_PANDAS_RAW = """\
```python
# pandas
import numpy as np
import pandas as pd

samples = pd.concat(map(pd.read_parquet, parts), ignore_index=True)
pixels = np.frombuffer(b"".join(samples["pixels"]), np.uint8).reshape(-1, SHAPE)
```"""

_DUCKDB = """\
```python
# DuckDB
import glob
import io

import duckdb
from PIL import Image

samples = duckdb.read_parquet([glob.escape(part) for part in parts])
counts = duckdb.sql("SELECT label, count(*) FROM samples GROUP BY label ORDER BY label").fetchall()
data = duckdb.sql("SELECT image.bytes FROM samples WHERE index = 0").fetchall()[0][0]
picture = Image.open(io.BytesIO(data))
```"""

_DUCKDB_RAW = """\
```python
# DuckDB
import glob

import duckdb
import numpy as np

samples = duckdb.read_parquet([glob.escape(part) for part in parts])
counts = duckdb.sql("SELECT label, count(*) FROM samples GROUP BY label ORDER BY label").fetchall()
data = duckdb.sql("SELECT pixels FROM samples WHERE index = 0").fetchall()[0][0]
picture = np.frombuffer(data, np.uint8).reshape(SHAPE)
```"""

_RAY_DATA = """\
```python
# Ray Data
import io

import ray
from PIL import Image

samples = ray.data.read_parquet(parts)
picture = Image.open(io.BytesIO(samples.take(1)[0]["image"]["bytes"]))
```"""

_RAY_DATA_RAW = """\
```python
# Ray Data
import numpy as np
import ray

samples = ray.data.read_parquet(parts)
picture = np.frombuffer(samples.take(1)[0]["pixels"], np.uint8).reshape(SHAPE)
```"""

_WEBDATASET = """\
```python
# webdataset
import webdataset

samples = webdataset.WebDataset(parts, shardshuffle=False).decode("pil")
```"""

_TRAIN = """\
The program that wrote this folder trains on it, by the index of the shards:

```bash
python jobs/train.py PRESET --data FOLDER/data/index.json --run-dir RUN
```"""

# Their own reading of paths as URLs, which no escaping helps against.
_FSSPEC_LIMIT = "No path with `::` in it can be read so."
_RAY_DATA_LIMIT = "Ray Data cannot read from a path with `?` in it."
_WEBDATASET_LIMIT = """\
webdataset cannot read from a path with `?` or
`#` in it, and an `s3://` URL only as `pipe:aws s3 cp URL -`."""


def loading(suffix: PartSuffix, schema: pa.Schema) -> str:
    """What the card says of loading: limits of the readers, how the parts are found, and an example for every reader.

    Args:
        suffix: The format of the parts.
        schema: Their columns.
    """
    limit = _WEBDATASET_LIMIT if suffix == "tar" else _RAY_DATA_LIMIT
    return "\n\n".join([f"{_FSSPEC_LIMIT} {limit}", _PARTS, *_examples(suffix, schema)])


def _examples(suffix: PartSuffix, schema: pa.Schema) -> list[str]:
    if suffix == "tar":
        return [_WEBDATASET, _TRAIN]
    shape = raw_shape(schema)
    if shape is None:
        return [_DATASETS, _PANDAS, _DUCKDB, _RAY_DATA]
    numbers = ", ".join(map(str, shape))
    return [example.replace("SHAPE", numbers) for example in (_DATASETS_RAW, _PANDAS_RAW, _DUCKDB_RAW, _RAY_DATA_RAW)]
