import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError, CorruptDataError, ResumeMismatch
from pipeline.shards import decode_image, decode_label, image_field, open_data, open_source, pack, read_samples
from pipeline.shards.versions import VERSIONS_NAME


def _files(folder: Path) -> dict[str, bytes]:
    # Without the times and places of the shards, which are no function of what is packed.
    files = sorted(path for path in folder.iterdir() if path.name != VERSIONS_NAME)
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for number in range(13):
        path = folder / ("ab"[number % 2]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (5, 4, 3), dtype=np.uint8)).save(path)
    return folder


def test_webdataset_reads_what_was_packed(pictures: Path, tmp_path: Path, by_webdataset: Callable) -> None:
    source = open_source(str(pictures))
    pack(source, f"{tmp_path}/out", shard_size=5)
    names = ["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]
    assert sorted(_files(tmp_path / "out")) == ["index.json", "index.offsets.npy", "index.xxh3.npy", *names]
    found = [sample for name in names for sample in by_webdataset(tmp_path / "out" / name)]
    assert len(found) == 13
    for (key, image), sample in zip(source, found, strict=True):
        assert sample == {
            "__key__": key,
            "png": image.data,
            "cls": str(image.label).encode(),
            "json": json.dumps(dict(image.metadata), sort_keys=True).encode(),
        }


def test_our_reader_reads_what_was_packed(pictures: Path, tmp_path: Path) -> None:
    source = open_source(str(pictures))
    made = pack(source, f"{tmp_path}/out", shard_size=5, name="my pictures")
    index = open_data(f"{tmp_path}/out")
    assert index.fingerprint() == made.fingerprint()
    assert (index.name, index.meta) == ("my pictures", made.meta)
    assert (index.meta.class_names, index.meta.image_shape) == (("a", "b"), (5, 4, 3))
    assert [shard.num_samples for shard in index.shards] == [5, 5, 3]
    samples = [s for shard, info in enumerate(index.shards) for s in read_samples(index, shard, 0, info.num_samples)]
    for (key, image), sample in zip(source, samples, strict=True):
        assert (sample.key, decode_label(sample)) == (key, image.label)
        pixels = decode_image(sample.fields[image_field(sample)], channels=3)
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(pictures / str(image.metadata["file"]))))


def test_the_index_is_in_the_form_that_webdatasets_tools_read(pictures: Path, tmp_path: Path) -> None:
    pack(open_source(str(pictures)), f"{tmp_path}/out", shard_size=10)
    content = json.loads((tmp_path / "out" / "index.json").read_text())
    assert content["__kind__"] == "wids-shard-index-v1"
    assert content["wids_version"] == 1
    assert [(entry["url"], entry["nsamples"]) for entry in content["shardlist"]] == [
        ("shard-000000.tar", 10),
        ("shard-000001.tar", 3),
    ]
    for entry in content["shardlist"]:
        md5 = subprocess.run(["md5sum", tmp_path / "out" / entry["url"]], capture_output=True, check=True, text=True).stdout
        assert entry["md5sum"] == md5.split()[0]
        assert entry["filesize"] == (tmp_path / "out" / entry["url"]).stat().st_size
    assert content["meta"] == {"class_names": ["a", "b"], "num_samples": 13, "image_shape": [5, 4, 3]}


def test_the_bytes_depend_on_the_images_alone(pictures: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    pack(open_source(str(pictures)), f"{tmp_path}/one", shard_size=5, progress=lambda *call: calls.append(call))
    time.sleep(0.01)
    pack(open_source(str(pictures)), f"{tmp_path}/two", shard_size=5)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    assert calls == [(5, 13), (10, 13), (13, 13)]
    with tarfile.open(tmp_path / "one" / "shard-000000.tar") as archive:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in archive.getmembers()} == {(0, 0, 0, "", "", 0o444)}


def test_images_of_several_shapes_and_without_labels(pictures: Path, tmp_path: Path, by_webdataset: Callable) -> None:
    Image.new("L", (9, 9)).save(pictures / "a" / "other.png")
    index = pack(open_source(f"{pictures}/a"), f"{tmp_path}/out")
    assert (index.meta.class_names, index.meta.image_shape) == ((), None)
    assert {tuple(sample) for sample in by_webdataset(tmp_path / "out" / "shard-000000.tar")} == {("__key__", "json", "png")}


def test_packing_again_changes_nothing(pictures: Path, tmp_path: Path) -> None:
    pack(open_source(str(pictures)), f"{tmp_path}/out", shard_size=5)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    pack(open_source(str(pictures)), f"{tmp_path}/out", shard_size=5)
    assert before == {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("kept", [[], ["packing"], [0], [0, 1], [0, 1, 2], [0, 1, 2, "sidecar"]])
def test_a_pack_that_stopped_anywhere_is_continued(pictures: Path, tmp_path: Path, kept: list[int | str]) -> None:
    pack(open_source(str(pictures)), f"{tmp_path}/whole", shard_size=5)
    whole = _files(tmp_path / "whole")
    half = tmp_path / "half"
    half.mkdir()
    plan = {"name": "pictures", "num_samples": 13, "shard_size": 5, "seed": 0, "class_names": ["a", "b"]}
    if kept:
        (half / "packing.json").write_text(json.dumps(plan, indent=1) + "\n")
    for item in kept:
        name = {"sidecar": "index.offsets.npy"}.get(str(item), f"shard-{item:0>6}.tar")
        if item != "packing":
            (half / name).write_bytes(whole[name])
    if kept:
        with pytest.raises(ConfigError, match="packing is unfinished" if kept != ["packing"] else "unfinished|no .tar"):
            open_data(str(half))
    pack(open_source(str(pictures)), str(half), shard_size=5)
    assert _files(half) == whole


# Packs again and again in forked children; each kills itself without warning when it makes its n-th write durable.
_KILLED_PACKS = """
import os, signal, sys
from webdataset.writer import TarWriter
from pipeline.shards import open_source, pack
for writes in (0, 3, 7, 4, 1000):
    child = os.fork()
    if child == 0:
        real = os.fsync
        def fsync(descriptor):
            global writes
            writes -= 1
            if writes < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)
        os.fsync = fsync
        pack(open_source(sys.argv[1]), sys.argv[2], shard_size=2)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(ended, os.path.exists(sys.argv[2] + "/index.json"))
"""


def test_a_pack_killed_at_any_moment_is_continued(pictures: Path, tmp_path: Path) -> None:
    pack(open_source(str(pictures)), f"{tmp_path}/whole", shard_size=2)
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", _KILLED_PACKS, str(pictures), str(out)]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["-9 False"] * 4 + ["0 True"]
    whole = _files(tmp_path / "whole")
    assert {name: data for name, data in _files(out).items() if not name.endswith(".partial")} == whole


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("change", ["shard size", "seed", "image", "name", "fewer"])
def test_the_folder_of_another_data_set_is_refused_unharmed(
    pictures: Path, tmp_path: Path, change: str, finished: bool, make_png: Callable[..., bytes]
) -> None:
    out = tmp_path / "out"
    pack(open_source(str(pictures)), str(out), shard_size=5)
    if not finished:
        plan = {"name": "pictures", "num_samples": 13, "shard_size": 5, "seed": 0, "class_names": ["a", "b"]}
        (out / "packing.json").write_text(json.dumps(plan, indent=1) + "\n")
        for name in ("index.json", "index.offsets.npy", "shard-000002.tar"):
            (out / name).unlink()
    before = _files(out)
    if change == "image":
        (pictures / "a" / "0.png").write_bytes(make_png(99, (5, 4, 3)))
    if change == "fewer":
        (pictures / "a" / "0.png").unlink()
    source = open_source(str(pictures), seed=1 if change == "seed" else 0)
    with pytest.raises(ResumeMismatch, match="got an output folder") as caught:
        pack(source, str(out), shard_size=4 if change == "shard size" else 5, name="other" if change == "name" else None)
    assert "\n" not in str(caught.value)
    assert _files(out) == before


@pytest.mark.parametrize("name", ["train-7.tar", "train-7.TAR", "train-7.tgz"])
def test_a_folder_with_foreign_shards_is_refused_before_anything_is_written(pictures: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "._shard-000000.tar").write_bytes(b"x")  # hidden, and no shard
    (tmp_path / "out" / name).write_bytes(b"x")
    with pytest.raises(ResumeMismatch, match=rf"foreign shard .*{name}"):
        pack(open_source(str(pictures)), f"{tmp_path}/out")
    assert sorted(_files(tmp_path / "out")) == ["._shard-000000.tar", name]


def test_a_bad_image_leaves_nothing_that_looks_whole(pictures: Path, tmp_path: Path) -> None:
    (pictures / "b" / "11.png").write_bytes(b"not a picture")
    with pytest.raises(CorruptDataError, match=r"b/11\.png"):
        pack(open_source(str(pictures)), f"{tmp_path}/out", shard_size=2)
    for spec in ("", "/*.tar", "/shard-000000.tar"):
        with pytest.raises(ConfigError, match="unfinished"):
            open_data(f"{tmp_path}/out{spec}")


@pytest.mark.parametrize("shard_size", [0, -5])
def test_a_shard_size_below_one_is_refused(pictures: Path, tmp_path: Path, shard_size: int) -> None:
    with pytest.raises(ConfigError, match=f"shard_size is {shard_size}, expected at least 1"):
        pack(open_source(str(pictures)), f"{tmp_path}/out", shard_size=shard_size)
    assert not (tmp_path / "out").exists()


def test_packing_to_another_store(pictures: Path, tmp_path: Path) -> None:
    local = pack(open_source(str(pictures)), f"{tmp_path}/out", shard_size=5)
    pack(open_source(str(pictures)), "memory://pack-test/out", shard_size=5)
    index = open_data("memory://pack-test/out")
    assert index.fingerprint() == local.fingerprint()
    assert len(read_samples(index, 2, 0, 3)) == 3
