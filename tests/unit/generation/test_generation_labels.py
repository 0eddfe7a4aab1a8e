"""Which class a sample gets, by counts, by weights and from a file of conditions."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from generation_models import spec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, CorruptDataError
from pipeline.generation import LabelRule, load_conditions, parse_labels

RULES = [LabelRule(classes=(2, 0), counts=(7, 5)), LabelRule(classes=(0, 1, 5), weights=(0.2, 3, 1)), LabelRule(classes=(1, 2))]


def classes(rule: LabelRule, first: int, rows: int, seed: int = 0) -> list[int]:
    found = rule.of(seed, first, rows)
    assert found is not None
    assert found.dtype == np.int64
    return found.tolist()


@pytest.mark.parametrize("rule", RULES, ids=["counts", "weights", "cycle"])
@given(first=st.integers(0, 50), cut=st.integers(1, 19))
def test_a_samples_class_does_not_depend_on_the_range(rule: LabelRule, first: int, cut: int) -> None:
    assert classes(rule, first, 20) == classes(rule, first, cut) + classes(rule, first + cut, 20 - cut)


def test_counts_are_exact() -> None:
    rule = parse_labels("2:7,0:5,1:1", 3)
    assert rule.num_samples == 13
    assert classes(rule, 0, 13) == [2] * 7 + [0] * 5 + [1]
    assert classes(rule, 11, 5) == [0, 1, 1, 1, 1]  # past the end: rows that fill a batch up and are thrown away


def test_counts_whose_sum_no_int64_holds_keep_their_classes() -> None:
    rule = parse_labels("2:3,0:9000000000000000000,1:9000000000000000000", 3)
    assert rule.num_samples == 18 * 10**18 + 3
    assert classes(rule, 0, 6) == [2, 2, 2, 0, 0, 0]
    assert classes(parse_labels(f"1:{10**40},0:1", 3), 10**12 - 3, 3) == [1, 1, 1]


def test_weights_near_the_largest_float_are_frequencies_as_long_as_their_sum_is_one() -> None:
    assert classes(parse_labels("0=4e307,1=1.2e308", 2), 0, 100) == classes(parse_labels("0=1,1=3", 2), 0, 100)


def test_weights_are_frequencies_and_follow_the_seed() -> None:
    rule = parse_labels("0=1,4=3", 5)
    assert rule.num_samples is None
    n = 20_000
    found = Counter(classes(rule, 0, n))
    assert set(found) == {0, 4}
    assert abs(found[4] / n - 0.75) < 5 * (0.75 * 0.25 / n) ** 0.5
    assert classes(rule, 0, 100, seed=1) != classes(rule, 0, 100)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0:5,1", "got '0:5,1', expected all, one class"),
        ("0:5,1=3", "expected all, one class"),
        ("0:0", r"counts \[0\], expected a positive one"),
        ("0=-1", "weights"),
        ("0=nan", "weights"),
        ("0=1e308,1=1e308", "weights .*expected a sum below"),
        ("0:1.5", "expected all, one class"),
        ("7:5", "got class 7, expected 0 to 2"),
    ],
)
def test_bad_counts_and_weights_are_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_labels(text, 3)


def test_the_specification_has_the_rule() -> None:
    found = spec(labels=(1, 2), label_counts=(2, 3)).labels_of(0, 5)
    assert found is not None
    assert found.tolist() == [1, 1, 2, 2, 2]


def conditions(folder: Path, **columns: object) -> str:
    pq.write_table(pa.table(columns), folder / "conditions.parquet")
    return str(folder / "conditions.parquet")


@pytest.mark.parametrize("keys", [["a", "b", "c"], [7, 8, 9], None])
def test_conditions_are_read_by_row(tmp_path: Path, keys: list[object] | None) -> None:
    more = {} if keys is None else {"key": keys}
    url = conditions(tmp_path, label=[2, 0, 1], prompt=["x", "y", "z"], **more)
    read = load_conditions(url, 3)
    assert read.labels_of(1, 2).tolist() == [0, 1]
    assert read.labels_of(2, 3).tolist() == [1, 1, 1]
    assert read.keys_of(1, 2) == (None if keys is None else [str(key) for key in keys[1:]])
    assert load_conditions(url, 3, sha256=read.sha256).sha256 == read.sha256
    with pytest.raises(CorruptDataError, match="the conditions changed"):
        load_conditions(url, 3, sha256="0" * 64)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"class": [1]}, "expected one label"),
        ({"label": ["1"]}, "1 labels of type string.* expected an integer in each row"),
        ({"label": [1, None]}, "1 of them missing, expected an integer in each row"),
        ({"label": [1, 3]}, "classes 1 to 3, expected 0 to 2"),
        ({"label": [-1]}, "expected 0 to 2"),
        ({"label": [1, 2], "key": ["a", None]}, "1 rows without key"),
        ({"label": [1], "key": [b"\xff"]}, "keys of type binary, expected strings or integers"),
        ({"label": [1], "key": [b"text"]}, "keys of type binary"),
        ({"label": [1], "key": [1.5]}, "keys of type double"),
        ({"label": [1], "key": [[1]]}, "keys of type list"),
        ({"label": [1], "key": [{"a": 1}]}, "keys of type struct"),
        ({"label": [1], "key": [True]}, "keys of type bool"),
        ({"label": [1], "key": pa.array([b"\xff"]).view(pa.string())}, "keys that are no text"),
    ],
)
def test_bad_conditions_are_refused(tmp_path: Path, columns: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_conditions(conditions(tmp_path, **columns), 3)


@pytest.mark.parametrize("names", [["label", "label"], ["label", "key", "key"]])
def test_columns_of_one_name_are_refused(tmp_path: Path, names: list[str]) -> None:
    file = tmp_path / "twice.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * len(names), names=names), file)
    with pytest.raises(ConfigError, match="expected one label and at most one key"):
        load_conditions(str(file), 3)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_keys_are_text_however_it_is_stored(tmp_path: Path, kind: pa.DataType) -> None:
    keys = pa.array(["a", "ß", ""]).cast(kind)
    assert load_conditions(conditions(tmp_path, label=[0, 1, 2], key=keys), 3).keys_of(0, 3) == ["a", "ß", ""]


def test_what_is_no_file_of_conditions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such object"):
        load_conditions(str(tmp_path / "gone"), 3)
    (tmp_path / "text").write_text("label")
    with pytest.raises(ConfigError, match="no readable Parquet file"):
        load_conditions(str(tmp_path / "text"), 3)
