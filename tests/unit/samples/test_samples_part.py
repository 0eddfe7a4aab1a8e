import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Features, Value
from datasets import Image as ImageFeature
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_makers import SPEC, part, png

from pipeline.errors import ConfigError, CorruptDataError
from pipeline.samples import PartRange, PartRows, canonical_json, encode_part, parquet_schema
from pipeline.samples.part import decode_part, part_problems, rows_in


def test_the_schema_is_the_one_hugging_face_writes():
    theirs = Features({"index": Value("int64"), "image": ImageFeature(), "label": Value("int64")}).arrow_schema
    ours = parquet_schema(SPEC)
    assert ours.remove_metadata().equals(pa.schema([pa.field("index", pa.int64(), nullable=False), *list(theirs)[1:]]))
    assert json.loads(ours.metadata[b"huggingface"]) == json.loads(theirs.metadata[b"huggingface"])
    assert Features.from_arrow_schema(ours) == Features.from_arrow_schema(theirs)


def test_provenance_is_in_the_file():
    metadata = pq.read_schema(pa.BufferReader(part(PartRange(0, 3)))).metadata
    assert json.loads(metadata[b"swissroll"]) == SPEC


@settings(max_examples=30, deadline=None)
@given(
    first=st.integers(0, 10**11),
    images=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20),
    data=st.data(),
)
def test_what_goes_in_comes_out(first: int, images: list[bytes], data: st.DataObject):
    labels = data.draw(st.none() | st.lists(st.integers(0, 999), min_size=len(images), max_size=len(images)))
    file = encode_part(PartRows(first=first, images=images, labels=labels), SPEC)
    rows = pq.read_table(pa.BufferReader(file)).to_pylist()
    assert [row["index"] for row in rows] == list(range(first, first + len(images)))
    assert [row["image"]["bytes"] for row in rows] == images
    assert [row["image"]["path"] for row in rows] == [f"{row['index']:012d}.png" for row in rows]
    assert [row["label"] for row in rows] == (labels or [None] * len(images))
    assert rows_in(file, "x") == len(images)
    assert part_problems(decode_part(file, "x"), first=first, rows=len(images), provenance=SPEC) == []


def test_bytes_are_the_same_in_another_process():
    here = part(PartRange(100, 1100))
    code = "import sys; from sample_makers import *; sys.stdout.buffer.write(part(PartRange(100, 1100)))"
    environment = {
        "PYTHONPATH": f"{Path(__file__).parent}:{Path.cwd()}",
        "PYTHONHASHSEED": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": "",
    }
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout == here


def test_reading_leaves_no_thread_behind():
    """One that lets go of the bytes while the process ends would abort it, rarely; so it is threads that are counted."""
    code = """if True:
        import io, os, sys
        import pyarrow as pa, pyarrow.parquet as pq
        from sample_makers import *
        from pipeline import storage
        from pipeline.generation.conditions import load_conditions
        from pipeline.samples.part import decode_part
        data = part(PartRange(0, 300))
        file = io.BytesIO()
        pq.write_table(pa.table({"label": [1, 2] * 300, "key": ["a", "b"] * 300}), file, row_group_size=50)
        storage.put_replace("memory://conditions.parquet", file.getvalue())
        before = len(os.listdir("/proc/self/task"))
        assert len(decode_part(data, "part.parquet")) == 300
        assert load_conditions("memory://conditions.parquet", 3).sha256
        sys.exit(len(os.listdir("/proc/self/task")) - before)
    """
    command = [sys.executable, "-c", code]
    paths = {"PYTHONPATH": f"{Path(__file__).parent}:{Path.cwd()}"}
    assert subprocess.run(command, env={**os.environ, **paths}, check=False).returncode == 0


def test_images_leave_no_traces_in_the_footer():
    metadata = pq.read_metadata(pa.BufferReader(part(PartRange(0, 1500))))
    assert metadata.num_row_groups == 2
    for group in range(metadata.num_row_groups):
        columns = {metadata.row_group(group).column(i).path_in_schema: metadata.row_group(group).column(i) for i in range(4)}
        for path in ["image.bytes", "image.path"]:
            assert not columns[path].is_stats_set
            assert not columns[path].has_dictionary_page
        assert columns["index"].statistics.min == group * 1024
    assert metadata.serialized_size < 4500


def test_pandas_and_duckdb_read_it(tmp_path: Path):
    file = tmp_path / "part.parquet"
    file.write_bytes(part(PartRange(10, 9)))
    frame = pd.read_parquet(file)
    assert frame["index"].tolist() == list(range(10, 19))
    assert frame["label"].tolist() == [index % 3 for index in range(10, 19)]
    assert Image.open(io.BytesIO(frame["image"].tolist()[0]["bytes"])).size == (6, 6)
    with duckdb.connect() as database:
        query = f"SELECT index, image.bytes, image.path, label FROM '{file}' WHERE label = 2 ORDER BY index"
        assert database.sql(query).fetchall() == [(index, png(index), f"{index:012d}.png", 2) for index in (11, 14, 17)]


def test_unlabeled_samples_have_null_labels(tmp_path: Path):
    file = tmp_path / "part.parquet"
    file.write_bytes(part(PartRange(0, 4), labeled=False))
    with duckdb.connect() as database:
        assert database.sql(f"SELECT count(*), count(label) FROM '{file}'").fetchall() == [(4, 0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"images": []},
        {"keys": ["a"]},
        {"first": -1},
        {"first": 10**12},
        {"labels": [1]},
        {"extension": ".png"},
        {"extension": ""},
        {"images": np.zeros((2, 4, 4, 3), np.int16)},
        {"images": np.zeros((2, 4, 4), np.uint8)},
    ],
)
def test_arguments_that_make_no_part_are_refused(changes: dict[str, object]):
    arguments: dict[str, object] = {"first": 0, "images": [b"a", b"b"], "labels": [0, 1]}
    with pytest.raises(ValueError, match="expected"):
        PartRows(**(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), b"bytes", {1, 2}, object()])
def test_what_json_cannot_hold_is_refused(value: object):
    with pytest.raises(ConfigError, match="JSON"):
        canonical_json({"a": {"b": value}})


leaves = st.integers() | st.text(max_size=5) | st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(max_size=5), leaves | st.lists(leaves, max_size=3), max_size=5))
def test_canonical_json_does_not_depend_on_order(value: dict[str, object]):
    text = canonical_json(value)
    assert canonical_json(dict(reversed(value.items()))) == text
    assert json.loads(text) == value


def table(**changes: list) -> pa.Table:
    """Three rows like those of a part, with some columns changed."""
    columns: dict[str, list] = {
        "index": [5, 6, 7],
        "image": [{"bytes": png(index), "path": f"{index:012d}.png"} for index in (5, 6, 7)],
        "label": [0, 1, 2],
    }
    return pa.Table.from_pydict(columns | changes, schema=parquet_schema(SPEC))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (table(index=[5, 7, 6]), "expected 5..7 each once, in order"),
        (table(index=[5, 6, 6]), "2 distinct"),
        (table(index=[6, 7, 8]), "indices 6..8"),
        (table().slice(0, 2), "got 2 rows"),
        (table().slice(0, 0), "no index"),
        (table(image=[None, *table()["image"].to_pylist()[1:]]), "1 rows without image bytes"),
        (table(image=[{"bytes": None, "path": "000000000005.png"}, *table()["image"].to_pylist()[1:]]), "without image bytes"),
        (table(image=list(reversed(table()["image"].to_pylist()))), "image paths"),
        (table().drop_columns(["label"]), "got the columns index int64 not null, image"),
        (table().replace_schema_metadata({**parquet_schema({**SPEC, "seed": 8}).metadata}), "provenance"),
        (table().replace_schema_metadata(None), "Hugging Face"),
    ],
)
def test_each_thing_wrong_with_a_part_is_named(wrong: pa.Table, message: str):
    assert part_problems(table(), first=5, rows=3, provenance=SPEC) == []
    problems = part_problems(wrong, first=5, rows=3, provenance=SPEC)
    assert any(message in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all", part(PartRange(0, 2))[:-20]])
def test_what_is_no_parquet_is_refused_by_name(data: bytes):
    for read in (decode_part, rows_in):
        with pytest.raises(CorruptDataError, match=r"no readable Parquet file.*\(data/part\)"):
            read(data, "data/part")


@pytest.mark.parametrize("name", [b"index", b"image", b"bytes", b"label"])
def test_a_name_in_the_footer_that_is_no_text_is_refused_by_name(name: bytes):
    data = part(PartRange(0, 2))
    refused = 0
    place = data.find(name)
    while place >= 0:
        damaged = bytearray(data)
        damaged[place] ^= 128
        for read in (decode_part, rows_in):
            with contextlib.suppress(CorruptDataError):
                read(bytes(damaged), "data/part")
                continue
            refused += 1
        place = data.find(name, place + 1)
    assert refused
