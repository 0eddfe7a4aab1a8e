from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import storage
from pipeline.errors import ConfigError


def test_local_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert storage.absolute_url("runs/a/") == f"{tmp_path}/runs/a"
    assert storage.absolute_url("./b/../c") == f"{tmp_path}/c"
    assert storage.absolute_url("~/d") == "/home/someone/d"
    assert storage.absolute_url("file:///data/x") == "/data/x"
    assert storage.absolute_url("/") == "/"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("s3://bucket/", "s3://bucket"),
        ("memory://x//", "memory://x"),
        ("https://host/a?b=c", "https://host/a?b=c"),
        ("https://host/a?sig=b/", "https://host/a?sig=b/"),
        ("HTTPS://Host/A/", "https://Host/A"),
        ("S3://Bucket/A", "s3://Bucket/A"),
        ("zip://A.tar::S3://B", "zip://A.tar::S3://B"),
    ],
)
def test_other_urls_stay(url: str, expected: str):
    assert storage.absolute_url(url) == expected
    assert not storage.is_local(url)


@pytest.mark.parametrize("url", ["a", "/a", "~/a", "file:///a", "local:///a", "FILE:///a", "a:b"])
def test_local_is_local(url: str):
    assert storage.is_local(url)


@pytest.mark.parametrize("url", ["", "  "])
def test_an_empty_url_is_not_the_working_directory(url: str):
    with pytest.raises(ConfigError, match="expected a path or a URL"):
        storage.absolute_url(url)


def test_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert storage.join("s3://bucket/", "a/", "/b", "", "c") == "s3://bucket/a/b/c"
    assert storage.join("/", "a") == "/a"
    assert storage.join("runs", "a") == f"{tmp_path}/runs/a"
    assert storage.join("file:///x/") == "/x"


@given(st.lists(st.text(alphabet="ab.-_ ü", min_size=1), max_size=4))
def test_join_is_associative(names: list[str]):
    one_by_one = "s3://bucket/base"
    for name in names:
        one_by_one = storage.join(one_by_one, name)
    assert storage.join("s3://bucket/base", *names) == one_by_one


def test_an_unknown_scheme_is_the_users_mistake():
    with pytest.raises(ConfigError, match="nosuch"):
        storage.read_bytes("nosuch://bucket/a")
