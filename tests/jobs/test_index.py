"""Indexing as a user does it: the index opens everywhere, a shard that changed is refused by name, nothing half-written."""

import json
import os
import shutil
from pathlib import Path

from conftest import TRAIN
from job_runs import JobHere, Place

from pipeline.shards import load_index, open_data, sample_offsets


def bare(shards: Path, folder: Path) -> Path:
    """The shards alone."""
    folder.mkdir()
    for shard in shards.glob("*.tar"):
        shutil.copy(shard, folder)
    return folder


def test_shards_are_indexed_and_changes_refused(alone: Place, shards: Path, job_here: JobHere, tmp_path: Path):
    data = bare(shards, tmp_path / "data")
    done = alone.run("index.py", "--shards", data / "shard-*.tar")
    assert done.code == 0, done
    assert "1,797 in 4 shards" in done.out
    index, packed = load_index(str(data / "index.json")), load_index(str(shards / "index.json"))
    assert [shard.num_samples for shard in index.shards] == [shard.num_samples for shard in packed.shards]
    for shard in range(4):
        assert sample_offsets(index, shard).tolist() == sample_offsets(packed, shard).tolist()
    assert json.loads((data / "index.json").read_text())["__kind__"] == "wids-shard-index-v1"
    os.utime(data / "shard-000002.tar", (1, 1))
    refused = job_here("train.py", *TRAIN, "--data", data, "--run-dir", tmp_path / "run")
    assert refused.code == 2
    assert "written again after it was indexed" in refused.error_line()
    assert "shard-000002.tar" in refused.error_line()
    (data / "index.json").write_text('{"trunc')
    again = alone.run("index.py", "--shards", data, "--checksums")
    assert again.code == 0, again
    assert "warning: not a shard index" in again.err
    assert (data / "index.json.replaced").read_text() == '{"trunc'
    assert "one a sample" in again.out
    assert open_data(str(data)).fingerprint() == index.fingerprint()
    assert (data / "index.xxh3.npy").stat().st_size == (shards / "index.xxh3.npy").stat().st_size


def test_packed_shards_stay_the_same_data_set_when_indexed_again(alone: Place, shards: Path, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(shards, data)
    done = alone.run("index.py", "--shards", data)
    assert done.code == 0, done
    assert open_data(str(data)).fingerprint() == open_data(str(shards)).fingerprint()
    assert open_data(str(data)).meta == open_data(str(shards)).meta


def test_mistakes_write_nothing(alone: Place, job_here: JobHere, shards: Path, tmp_path: Path):
    assert "--shards is missing" in job_here("index.py").error_line()
    data = bare(shards, tmp_path / "data")
    spread = tmp_path / "more"
    spread.mkdir()
    (data / "shard-000003.tar").rename(spread / "x.tar")
    refused = job_here("index.py", "--shards", f"{{{data},{spread}}}/*.tar")
    assert refused.code == 2
    assert "--output is missing; the shards lie in 2 folders" in refused.error_line()
    (data / "shard-000001.tar").write_bytes(b"no tar" * 200)
    refused = alone.run("index.py", "--shards", data)
    assert refused.code == 2, refused
    assert "shard-000001.tar" in refused.err
    assert "Traceback" not in refused.err
    assert not (data / "index.json").exists()
