"""Data sets on stores that show no listing, and answer 403 for whatever is missing."""

import pytest
from flaky import FlakyServer

from pipeline.errors import PermissionDenied
from pipeline.shards import open_data, open_source, pack


@pytest.fixture(params=["s3", "http"])
def folder(request: pytest.FixtureRequest, flaky: FlakyServer) -> str:
    """A packed data set of at least four shards, through each client."""
    pack(open_source("digits"), str(flaky.folder / "data"), shard_size=300)
    flaky.meet(forbid=1.0)
    return "s3://bucket/data" if request.param == "s3" else f"{flaky.http_url}/bucket/data"


@pytest.fixture
def pattern(folder: str, flaky: FlakyServer) -> str:
    """Its first four shards, named by a pattern."""
    names = sorted(file.name for file in (flaky.folder / "data").glob("*.tar"))
    return f"{folder}/{names[0].replace('0.tar', '{0..3}.tar')}"


def test_shards_are_opened_by_their_index(folder: str, pattern: str):
    by_name, by_index = open_data(pattern), open_data(f"{folder}/index.json")
    assert by_name.num_samples == 1200
    assert by_name.meta.class_names == by_index.meta.class_names != ()


@pytest.mark.parametrize("shards", ["0", "{0,1}", "{0..3}"])
def test_files_that_a_data_set_can_do_without_are_not_missed(
    flaky: FlakyServer, pattern: str, shards: str, caplog: pytest.LogCaptureFixture
):
    for file in (flaky.folder / "data").glob("*.json"):
        file.unlink()
    index = open_data(pattern.replace("{0..3}", shards))
    assert index.num_samples == 300 * len(index.shards)
    assert [line for line in caplog.messages if "going on without index.json" in line]


def test_versions_that_may_not_be_read_are_not_missed(flaky: FlakyServer, pattern: str):
    (flaky.folder / "data" / "index.versions.json").unlink(missing_ok=True)
    assert open_data(pattern).num_samples == 1200


def test_a_shard_that_may_not_be_read_is_named(flaky: FlakyServer, pattern: str):
    missing = max((flaky.folder / "data").glob("*3.tar"))
    missing.unlink()
    with pytest.raises(PermissionDenied, match=f"permission denied.*{missing.name}"):
        open_data(pattern)


@pytest.mark.parametrize("tail", ["", "/*.tar"])
def test_what_needs_a_listing_says_so(flaky: FlakyServer, tail: str):
    flaky.meet(forbid=1.0)
    with pytest.raises(PermissionDenied, match="permission denied"):
        open_data(f"s3://bucket/data{tail}")
