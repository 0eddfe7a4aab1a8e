"""Indexing as a job over a server that misbehaves: the index is that of the same shards on disk."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from flaky import FlakyServer

from pipeline.shards import (
    expand_shards,
    found_shards,
    index_shard,
    join_shards,
    load_index,
    open_data,
    open_source,
    pack,
    sample_offsets,
)
from pipeline.shards.index import sample_digests
from pipeline.shards.index_file import encode_index

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("by", ["s3", "http"])
def test_shards_on_a_server_with_faults_are_indexed(flaky: FlakyServer, tmp_path: Path, by: str) -> None:
    data = flaky.folder / "data"
    pack(open_source("digits"), str(data), shard_size=300)
    packed = load_index(str(data / "index.json"))
    offsets = [sample_offsets(packed, shard).tolist() for shard in range(6)]
    for file in data.glob("index*"):
        file.unlink()
    flaky.meet(cut=0.1, reset=0.05, error=0.1, slow_down=0.05, delay=0.05, too_little=0.1)
    shards = "s3://bucket/data" if by == "s3" else f"{flaky.http_url}/bucket/data/shard-{{000000..000005}}.tar"
    command = [sys.executable, ROOT / "jobs" / "index.py", "--shards", shards, "--output", tmp_path / "index"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory(prefix="swr-", ignore_cleanup_errors=True) as short:  # Ray puts Unix sockets below it
        done = subprocess.run(
            command,
            env=environment | {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": short},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done
    assert "1,797 in 6 shards" in done.stdout
    index = load_index(str(tmp_path / "index" / "index.json"))
    assert [shard.url.startswith(("s3://", "http://")) for shard in index.shards] == [True] * 6
    assert [shard.num_samples for shard in index.shards] == [shard.num_samples for shard in packed.shards]
    assert [sample_offsets(index, shard).tolist() for shard in range(6)] == offsets
    assert sum(flaky.met().values()) > 0


@pytest.mark.parametrize("fault", ["garble_once", "hole_once"])
@pytest.mark.parametrize("by", ["s3", "http"])
def test_headers_that_were_damaged_on_their_way_are_read_again(
    flaky: FlakyServer, by: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = flaky.folder / "data"
    packed = pack(open_source("digits"), str(data), shard_size=300)
    (data / "index.json").unlink()
    flaky.meet(**{fault: 1.0})
    index = open_data("s3://bucket/data" if by == "s3" else f"{flaky.http_url}/bucket/data/shard-{{000000..000005}}.tar")
    assert [sample_offsets(index, shard).tolist() for shard in range(6)] == [
        sample_offsets(packed, shard).tolist() for shard in range(6)
    ]
    assert flaky.met()[fault.replace("_", " ")] == 18  # one reading of six shards, and two more each
    assert not [record for record in caplog.records if "zeros" in record.message]


@pytest.mark.parametrize("by", ["s3", "http"])
def test_bits_that_flip_while_shards_are_read_for_checksums_condemn_no_sample(flaky: FlakyServer, by: str) -> None:
    packed = pack(open_source("digits"), str(flaky.folder / "data"), shard_size=60)
    root = "s3://bucket" if by == "s3" else f"{flaky.http_url}/bucket"
    urls = [f"{root}/data/shard-{shard:06d}.tar" for shard in range(30)]
    found = found_shards(urls)
    flaky.meet(flip=0.1)
    made = join_shards([index_shard(*pair, whole=True, checksums=True) for pair in zip(urls, found, strict=True)])
    assert [shard.digest for shard in made.shards] == [shard.digest for shard in packed.shards]
    for shard in range(30):
        expected, taken = sample_digests(packed, shard), sample_digests(made, shard)
        assert expected is not None
        assert taken is not None
        assert taken.tolist() == expected.tolist()
    assert flaky.met()["flip"] > 3


def test_a_folder_on_s3_that_holds_an_index_alone_is_opened_by_it(flaky: FlakyServer) -> None:
    pack(open_source("digits"), str(flaky.folder / "data"), shard_size=600)
    index = open_data("s3://bucket/data")
    (flaky.folder / "index").mkdir()
    for name, content in encode_index(index, "s3://bucket/index").items():
        (flaky.folder / "index" / name).write_bytes(content)
    opened = open_data("s3://bucket/index")
    assert (opened, opened.fingerprint()) == (index, index.fingerprint())
    assert expand_shards("s3://bucket/index") == [f"s3://bucket/data/shard-{shard:06d}.tar" for shard in range(3)]
