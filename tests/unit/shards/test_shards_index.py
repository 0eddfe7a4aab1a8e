import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xxhash

from pipeline.errors import ConfigError, CorruptDataError, PermanentStorageError
from pipeline.plans.index_plan import plan_indexing
from pipeline.shards import (
    ShardIndex,
    build_index,
    expand_shards,
    load_index,
    open_data,
    read_samples,
    sample_offsets,
    save_index,
)

# Made by `wids-index create train-000.tar train-001.tar train-002.tar -n train` of webdataset 0.2.111, sizes aside.
WIDS_INDEX = """{
  "__kind__": "wids-shard-index-v1",
  "wids_version": 1,
  "shardlist": [
    {
      "url": "train-000.tar",
      "md5sum": "9cd3aa3908772f8ac8f99c5c73cb00a4",
      "nsamples": 7,
      "filesize": %d
    },
    {
      "url": "train-001.tar",
      "md5sum": "5cd5a388b12de6906f8fbd5cc529961d",
      "nsamples": 1,
      "filesize": %d
    },
    {
      "url": "train-002.tar",
      "md5sum": "eef59d4d672446f048d1f28591d7aea3",
      "nsamples": 4,
      "filesize": %d
    }
  ],
  "name": "train"
}"""


def _sizes(folder: Path) -> tuple[int, ...]:
    return tuple((folder / f"train-{n:03d}.tar").stat().st_size for n in range(3))


def _all_keys(index: ShardIndex) -> list[str]:
    return [sample.key for shard, info in enumerate(index.shards) for sample in read_samples(index, shard, 0, info.num_samples)]


def test_an_index_is_built_from_headers(shard_folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    index = build_index(expand_shards(str(shard_folder)), progress=lambda done, total: calls.append((done, total)))
    assert [shard.num_samples for shard in index.shards] == [7, 1, 4]
    assert tuple(shard.size_bytes for shard in index.shards) == _sizes(shard_folder)
    assert index.starts.tolist() == [0, 7, 8, 12]
    assert index.starts.dtype == np.int64
    assert (index.name, index.num_samples, index.size_bytes) == ("data", 12, sum(_sizes(shard_folder)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert all(shard.version for shard in index.shards)


def test_an_index_survives_storage(shard_folder: Path) -> None:
    built = open_data(str(shard_folder))
    url = save_index(built, str(shard_folder))
    loaded = open_data(str(shard_folder))
    assert loaded == built
    assert loaded.fingerprint() == built.fingerprint()
    assert load_index(url).fingerprint() == built.fingerprint()
    for shard in range(3):
        np.testing.assert_array_equal(sample_offsets(loaded, shard), sample_offsets(built, shard))
    assert _all_keys(loaded) == [f"a.b/s{number:04d}" for number in range(12)]
    before = {path.name: path.read_bytes() for path in shard_folder.iterdir()}
    save_index(loaded, str(shard_folder))
    assert before == {path.name: path.read_bytes() for path in shard_folder.iterdir()}


def test_the_sidecar_is_an_ordinary_npy_of_the_documented_layout(shard_folder: Path) -> None:
    index = open_data(str(shard_folder))
    save_index(index, str(shard_folder))
    numbers = np.load(shard_folder / "index.offsets.npy", allow_pickle=False)
    assert numbers.dtype == np.int64
    assert numbers[0] == 2
    assert numbers[1:5].tobytes().hex() == index.fingerprint()
    np.testing.assert_array_equal(numbers[5:13], sample_offsets(index, 0))
    assert numbers[13:14].view(np.uint64)[0] == xxhash.xxh3_64_intdigest(numbers[5:13].astype("<i8").tobytes())
    assert len(numbers) == 5 + 9 + 3 + 6


def test_a_data_set_can_be_moved_with_its_index(shard_folder: Path, tmp_path: Path) -> None:
    index = open_data(str(shard_folder))
    save_index(index, str(shard_folder))
    shutil.copytree(shard_folder, tmp_path / "copy")
    copy = open_data(f"{tmp_path}/copy")
    store = fsspec.filesystem("memory")
    for path in shard_folder.iterdir():
        store.pipe(f"/moved/{path.name}", path.read_bytes())
    remote = open_data("memory://moved")
    assert copy.fingerprint() == remote.fingerprint() == index.fingerprint()
    assert copy.shards[0].url == str(tmp_path / "copy" / "train-000.tar")
    assert _all_keys(remote) == _all_keys(copy) == _all_keys(index)


def test_an_index_beside_none_of_its_shards_names_them_absolutely(shard_folder: Path, tmp_path: Path) -> None:
    index = open_data(str(shard_folder))
    url = save_index(index, str(tmp_path / "indexes"))
    assert _all_keys(open_data(url)) == _all_keys(index)


def test_an_index_of_webdatasets_own_tool_is_opened(shard_folder: Path) -> None:
    (shard_folder / "train.json").write_text(WIDS_INDEX % _sizes(shard_folder))
    index = open_data(f"{shard_folder}/train.json")
    assert (index.name, index.num_samples) == ("train", 12)
    assert index.shards[1].digest == "md5:5cd5a388b12de6906f8fbd5cc529961d"
    assert _all_keys(index) == [f"a.b/s{number:04d}" for number in range(12)]


def test_a_base_in_the_index_is_followed(shard_folder: Path) -> None:
    content = json.loads(WIDS_INDEX % _sizes(shard_folder)) | {"base": "data"}
    (shard_folder.parent / "train.json").write_text(json.dumps(content))
    assert open_data(f"{shard_folder.parent}/train.json").num_samples == 12


def test_an_index_that_counts_wrongly_is_refused(shard_folder: Path) -> None:
    (shard_folder / "train.json").write_text((WIDS_INDEX % _sizes(shard_folder)).replace('"nsamples": 4', '"nsamples": 5'))
    index = open_data(f"{shard_folder}/train.json")
    with pytest.raises(CorruptDataError, match=r"has 4 samples, its index says 5 .*train-002\.tar"):
        read_samples(index, 2, 0, 1)


def test_shards_named_by_pattern_use_the_index_of_their_folder(shard_folder: Path) -> None:
    save_index(open_data(str(shard_folder)), str(shard_folder))
    index = open_data(f"{shard_folder}/train-{{002,000}}.tar")
    assert type(index.offsets).__name__ == "SidecarOffsets"
    assert _all_keys(index) == [f"a.b/s{number:04d}" for number in (8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6)]
    assert index.fingerprint() != open_data(str(shard_folder)).fingerprint()


def test_shards_in_several_folders_make_one_data_set(shard_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (shard_folder / "train-001.tar").rename(tmp_path / "other" / "train-001.tar")
    index = open_data(f"{{{shard_folder}/train-000.tar,{tmp_path}/other/*.tar}}")
    assert index.num_samples == 8


def test_an_index_pickles(shard_folder: Path) -> None:
    index = open_data(str(shard_folder))
    assert _all_keys(pickle.loads(pickle.dumps(index))) == _all_keys(index)


def test_the_fingerprint_tells_data_sets_of_equal_sizes_apart(make_tar: Callable[..., bytes], tmp_path: Path) -> None:
    prints = set()
    for number, files in enumerate([[("a.png", b"123")], [("b.png", b"123")], [("a.png", b"1234")]]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "s.tar").write_bytes(make_tar(files))
        prints.add(open_data(str(folder)).fingerprint())
    assert len(prints) == 3


@pytest.mark.parametrize("by", ["folder", "index", "pattern"])
def test_a_shard_that_changed_size_is_refused_by_name(shard_folder: Path, by: str) -> None:
    save_index(open_data(str(shard_folder)), str(shard_folder))
    with (shard_folder / "train-001.tar").open("ab") as file:
        file.write(bytes(512))
    spec = {"folder": "", "index": "/index.json", "pattern": "/train-*.tar"}[by]
    with pytest.raises(CorruptDataError, match=r"changed after it was indexed .*train-001\.tar"):
        open_data(f"{shard_folder}{spec}")


def test_a_shard_that_vanished_is_refused_by_name(shard_folder: Path) -> None:
    save_index(open_data(str(shard_folder)), str(shard_folder))
    (shard_folder / "train-001.tar").unlink()
    with pytest.raises(ConfigError, match=r"whose shard .*train-001\.tar is missing"):
        open_data(str(shard_folder))


def test_a_shard_that_the_folders_index_does_not_know_is_refused(shard_folder: Path) -> None:
    save_index(open_data(f"{shard_folder}/train-00[01].tar"), str(shard_folder))
    with pytest.raises(ConfigError, match=r"train-002\.tar, which the folder's index\.json does not name"):
        open_data(str(shard_folder))
    assert open_data(f"{shard_folder}/index.json").num_samples == 8
    assert open_data(f"{shard_folder}/*.tar").num_samples == 12


def test_a_stale_sidecar_is_refused(shard_folder: Path) -> None:
    save_index(open_data(f"{shard_folder}/train-00[02].tar"), str(shard_folder))
    stale = (shard_folder / "index.offsets.npy").read_bytes()
    save_index(build_index([f"{shard_folder}/train-{n:03d}.tar" for n in (2, 0)]), str(shard_folder))
    (shard_folder / "index.offsets.npy").write_bytes(stale)
    with pytest.raises(CorruptDataError, match=r"it is stale; jobs/index\.py .*index\.offsets\.npy"):
        sample_offsets(load_index(f"{shard_folder}/index.json"), 0)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: data[:-8], "sidecar has 304 bytes, expected 312"),
        (lambda data: b"", "no .npy file"),
        (lambda data: b"junk" * 100, "no .npy file"),
        (lambda data: data.replace(b"(23,)", b"(24,)"), r"sidecar holds int64 \(24,\)"),
        (lambda data: data.replace(b"<i8", b"<f8"), "sidecar holds float64"),
        (lambda data: data[:128] + b"\x03" + data[129:], "format version 3, expected 2"),
        (lambda data: data[:170] + b"\xff" + data[171:], "8 numbers from number 0 on have the checksum"),
    ],
)
def test_a_damaged_sidecar_is_refused(shard_folder: Path, damage: Callable[[bytes], bytes], problem: str) -> None:
    save_index(open_data(str(shard_folder)), str(shard_folder))
    path = shard_folder / "index.offsets.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptDataError, match=rf"{problem}.*; jobs/index\.py indexes the shards again .*index\.offsets\.npy"):
        sample_offsets(open_data(str(shard_folder)), 0)


def test_an_index_of_the_layout_without_seals_is_told_to_be_made_again(shard_folder: Path) -> None:
    index = open_data(str(shard_folder))
    save_index(index, str(shard_folder))
    path = shard_folder / "index.offsets.npy"
    prefix = np.load(path)[:5]
    prefix[0] = 1
    np.save(path, np.concatenate([prefix, *(sample_offsets(index, shard) for shard in range(3))]))
    with pytest.raises(CorruptDataError, match=r"format version 1, expected 2; jobs/index.py indexes .*again .*offsets\.npy"):
        sample_offsets(open_data(str(shard_folder)), 0)
    assert not plan_indexing(str(shard_folder), "").warning
    save_index(build_index(plan_indexing(str(shard_folder), "").urls), str(shard_folder))
    assert len(_all_keys(open_data(str(shard_folder)))) == 12


def test_a_missing_sidecar_is_named(shard_folder: Path) -> None:
    save_index(open_data(str(shard_folder)), str(shard_folder))
    (shard_folder / "index.offsets.npy").unlink()
    with pytest.raises(PermanentStorageError, match=r"index\.offsets\.npy"):
        sample_offsets(open_data(str(shard_folder)), 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"__kind__": "other"}, "__kind__"),
        ({"wids_version": 2}, "wids_version"),
        ({"shardlist": []}, "shardlist"),
        ({"shardlist": [{"url": "train-000.tar", "nsamples": 0, "filesize": 10}]}, r"shardlist\.0\.nsamples"),
        ({"shardlist": [{"url": "train-000.tar", "nsamples": 2**70, "filesize": 10}]}, r"shardlist\.0\.nsamples"),
        ({"shardlist": [{"url": "train-000.tar", "nsamples": 1, "filesize": 2**70}]}, r"shardlist\.0\.filesize"),
        ({"shardlist": [{"url": "train-000.tar", "nsamples": "7", "filesize": 10}]}, r"shardlist\.0\.nsamples"),
        ({"shardlist": [{"url": "train-000.tar", "nsamples": 7, "filesize": 0}]}, r"shardlist\.0\.filesize"),
    ],
)
def test_a_damaged_index_is_refused(shard_folder: Path, change: dict[str, object], problem: str) -> None:
    content = json.loads(WIDS_INDEX % _sizes(shard_folder)) | change
    (shard_folder / "index.json").write_text(json.dumps(content))
    with pytest.raises(CorruptDataError, match=rf"not a shard index.*{problem}.*index\.json"):
        open_data(str(shard_folder))


def test_sizes_that_an_index_leaves_out_are_looked_up(shard_folder: Path) -> None:
    full = json.loads(WIDS_INDEX % _sizes(shard_folder))
    (shard_folder / "index.json").write_text(json.dumps(full))
    expected = open_data(str(shard_folder))
    for shard in full["shardlist"][1:]:
        del shard["filesize"]
    (shard_folder / "index.json").write_text(json.dumps(full))
    found = open_data(str(shard_folder))
    assert (found.shards, found.fingerprint()) == (expected.shards, expected.fingerprint())
    full["shardlist"][-1]["url"] = "train-009.tar"
    (shard_folder / "index.json").write_text(json.dumps(full))
    with pytest.raises(ConfigError, match=r"index\.json, whose shard .*train-009\.tar is missing"):
        open_data(str(shard_folder))


def test_an_index_of_joined_data_sets_is_refused(shard_folder: Path) -> None:
    content = json.loads(WIDS_INDEX % _sizes(shard_folder)) | {"datasets": [{"source_url": "x.json"}]}
    (shard_folder / "index.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="1 joined data sets"):
        open_data(str(shard_folder))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "shard has 0 bytes"),
        (b"this is no tar, whatever its name says" * 20, "not a tar header"),
        (b"short", "cut inside a header: 5 of 512 bytes"),
        (bytes(10240), "shard has no samples"),
    ],
)
def test_a_bad_shard_is_refused_by_name(shard_folder: Path, content: bytes, problem: str) -> None:
    (shard_folder / "train-001.tar").write_bytes(content)
    for spec in (str(shard_folder), f"{shard_folder}/train-001.tar"):
        with pytest.raises(CorruptDataError, match=rf"{problem}.*train-001\.tar"):
            open_data(spec)


def test_a_cut_shard_is_refused_by_name(shard_folder: Path) -> None:
    path = shard_folder / "train-000.tar"
    data = path.read_bytes().rstrip(b"\0")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptDataError, match=r"cut .*train-000\.tar"):
        open_data(str(shard_folder))


def test_a_shard_without_images_or_samples_is_refused(make_tar: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(make_tar([("README", b"no extension"), (".hidden.png", b"")]))
    with pytest.raises(CorruptDataError, match=r"no samples, expected files named like 'key\.png'"):
        open_data(str(tmp_path))


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.tar, but there is no such object"):
        build_index([f"{tmp_path}/gone.tar"])


def _touch(path: Path) -> None:
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000_000))


@pytest.mark.parametrize("by", ["", "/index.json", "/train-*.tar", "/train-001.tar"])
def test_a_shard_written_again_with_the_same_size_is_refused_by_name(shard_folder: Path, by: str) -> None:
    save_index(open_data(str(shard_folder)), str(shard_folder))
    assert open_data(f"{shard_folder}{by}").num_samples
    _touch(shard_folder / "train-001.tar")
    with pytest.raises(CorruptDataError, match=r"written again after it was indexed; run jobs/index\.py .*train-001\.tar"):
        open_data(f"{shard_folder}{by}")
    save_index(build_index(expand_shards(str(shard_folder))), str(shard_folder))
    assert open_data(f"{shard_folder}{by}").num_samples


def test_a_copy_with_other_times_is_taken_for_what_it_is(shard_folder: Path, tmp_path: Path) -> None:
    index = open_data(str(shard_folder))
    save_index(index, str(shard_folder))
    copy = tmp_path / "copy"
    shutil.copytree(shard_folder, copy, copy_function=shutil.copy)
    for shard in copy.glob("*.tar"):
        _touch(shard)
    assert open_data(str(copy)).fingerprint() == index.fingerprint()


def test_an_etag_that_changed_is_refused(shard_folder: Path) -> None:
    # memory:// keeps the time of creation, as an object store keeps an ETag.
    store = fsspec.filesystem("memory")
    for path in shard_folder.iterdir():
        store.pipe(f"/versions/{path.name}", path.read_bytes())
    save_index(open_data("memory://versions"), "memory://versions")
    open_data("memory://versions")
    store.pipe("/versions/train-002.tar", (shard_folder / "train-002.tar").read_bytes())
    with pytest.raises(CorruptDataError, match=r"written again .*train-002\.tar"):
        open_data("memory://versions")


def test_versions_of_another_index_say_nothing_and_damaged_ones_are_refused(shard_folder: Path) -> None:
    save_index(open_data(f"{shard_folder}/train-00[01].tar"), str(shard_folder))
    stale = (shard_folder / "index.versions.json").read_bytes()
    save_index(build_index(expand_shards(str(shard_folder))), str(shard_folder))
    (shard_folder / "index.versions.json").write_bytes(stale)
    _touch(shard_folder / "train-000.tar")
    assert open_data(str(shard_folder)).num_samples == 12
    (shard_folder / "index.versions.json").write_bytes(b"[]")
    with pytest.raises(CorruptDataError, match=r"not the versions of an index.*index\.versions\.json"):
        open_data(str(shard_folder))


@pytest.mark.parametrize("folder", ["{}/indexes", "{}/indexes/", "memory://indexes"])
def test_a_folder_of_an_index_alone_is_opened_by_it(shard_folder: Path, tmp_path: Path, folder: str) -> None:
    index, folder = open_data(str(shard_folder)), folder.format(tmp_path)
    save_index(index, folder)
    opened = open_data(folder)
    assert (opened, opened.fingerprint()) == (index, index.fingerprint())
    assert type(opened.offsets).__name__ == "SidecarOffsets"
    plan = plan_indexing(folder, "")
    assert (plan.urls, plan.output) == ([shard.url for shard in index.shards], str(shard_folder))
    (shard_folder / "train-001.tar").unlink()
    with pytest.raises(ConfigError, match=r"indexes/index\.json, whose shard .*train-001\.tar is missing"):
        open_data(folder)


def test_an_index_that_names_a_shard_twice_is_refused(shard_folder: Path) -> None:
    text = (WIDS_INDEX % _sizes(shard_folder)).replace("train-002.tar", "./train-001.tar")
    (shard_folder / "train.json").write_text(text)
    for read in (load_index, open_data, expand_shards):
        with pytest.raises(CorruptDataError, match=r"names the shard .*train-001\.tar more than once, expected .*train\.json"):
            read(f"{shard_folder}/train.json")
