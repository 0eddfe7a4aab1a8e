import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_iterator

from pipeline.errors import CorruptDataError
from pipeline.shards.grouping import group_members, split_name
from pipeline.shards.tar_walk import walk_tar


@given(st.text("abAB./_", min_size=1, max_size=14))
def test_names_split_as_webdataset_splits_them(name: str) -> None:
    key, field = base_plus_ext(name)
    hidden = name.rpartition("/")[2].startswith(".")
    if key is None or field is None or hidden:
        assert split_name(name) is None
    elif not name.startswith("__"):
        assert split_name(name) == (key, field.lower())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat/0001.seg.PNG", ("cat/0001", "seg.png")),
        ("v1.2/0001.png", ("v1.2/0001", "png")),
        ("0001", None),
        ("data/._0001.png", None),
        ("__meta__.json", ("__meta__", "json")),
        ("__meta__", None),
        ("__shard__/notes.txt", None),
    ],
)
def test_names(name: str, expected: tuple[str, str] | None) -> None:
    assert split_name(name) == expected


def test_samples_are_those_that_webdataset_groups(make_tar) -> None:
    files = [("a/1.png", b"p1"), ("a/1.CLS", b"0"), ("a", b"no extension"), ("a/2.png", b"p2"), ("__m__/x.txt", b"meta")]
    files += [("a/2.seg.png", b"s2"), ("b.c/1.png", b"q"), ("b.c/1.txt", b"t")]
    data = make_tar(files)
    members = ({**item, "__url__": "t"} for item in tar_file_iterator(io.BytesIO(data)))  # pyright: ignore[reportArgumentType]
    expected = [{k: v for k, v in sample.items() if k != "__url__"} for sample in group_by_keys(members)]
    found = [
        {"__key__": key, **{field: data[at : at + size] for field, at, size in fields}}
        for key, _, fields in group_members(walk_tar(data, "t"), "t")
    ]
    assert found == expected
    assert len(found) == 3


def test_a_key_that_comes_back_is_refused_by_name(make_tar) -> None:
    data = make_tar([("1.png", b""), ("2.png", b""), ("1.cls", b"")])
    with pytest.raises(CorruptDataError, match=r"sample '1' comes back.*t\.tar at byte 1024"):
        list(group_members(walk_tar(data, "t.tar"), "t.tar"))


def test_a_field_twice_is_refused_by_name(make_tar) -> None:
    data = make_tar([("1.png", b""), ("1.PNG", b"")])
    with pytest.raises(CorruptDataError, match=r"sample '1' has the field 'png' twice.*t\.tar at byte 512"):
        list(group_members(walk_tar(data, "t.tar"), "t.tar"))


def test_macos_tars_group_by_their_real_files(make_tar, tmp_path: Path) -> None:
    data = make_tar([("d/._1.png", b"junk"), ("d/1.png", b"x"), ("d/._2.png", b"junk"), ("d/2.png", b"y")])
    assert [key for key, *_ in group_members(walk_tar(data, "t"), "t")] == ["d/1", "d/2"]
