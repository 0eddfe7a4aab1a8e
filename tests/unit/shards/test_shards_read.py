import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.writer import ShardWriter, TarWriter

from pipeline.errors import CorruptDataError, PermanentStorageError
from pipeline.shards import open_data, read_samples, save_index


def _plain(samples: list) -> list[dict[str, object]]:
    return [{"__key__": s.key, **{name: bytes(data) for name, data in s.fields.items()}} for s in samples]


def test_samples_are_those_that_webdataset_reads(shard_folder: Path, by_webdataset: Callable) -> None:
    index = open_data(str(shard_folder))
    for shard, count in enumerate((7, 1, 4)):
        expected = by_webdataset(shard_folder / f"train-{shard:03d}.tar")
        assert len(expected) == count
        assert _plain(read_samples(index, shard, 0, count)) == expected


@pytest.mark.parametrize("stored", [False, True])
def test_every_range_is_a_cut_of_the_whole_shard(shard_folder: Path, stored: bool) -> None:
    index = open_data(str(shard_folder))
    if stored:
        save_index(index, str(shard_folder))
        index = open_data(str(shard_folder))
    whole = _plain(read_samples(index, 0, 0, 7))
    for start in range(8):
        for stop in range(start, 8):
            assert _plain(read_samples(index, 0, start, stop)) == whole[start:stop]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_shard_is_read_back_in_any_pieces(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("shards")
    fields = st.dictionaries(st.sampled_from(["png", "cls", "json", "seg.png", "txt"]), st.binary(max_size=1200), min_size=1)
    samples = data.draw(st.lists(fields, min_size=1, max_size=6))
    written = [{"__key__": "d" * (number % 3) * 60 + f"/{number}", **fields} for number, fields in enumerate(samples)]
    buffer = io.BytesIO()
    with TarWriter(buffer, encoder=False) as writer:
        for sample in written:
            writer.write(sample)
    (folder / "s.tar").write_bytes(buffer.getvalue())
    index = open_data(f"{folder}/s.tar")
    cut = data.draw(st.integers(0, len(samples)))
    assert _plain(read_samples(index, 0, 0, cut) + read_samples(index, 0, cut, len(samples))) == written


def test_shards_of_webdatasets_shard_writer_are_read(tmp_path: Path, make_png: Callable, by_webdataset: Callable) -> None:
    with ShardWriter(f"{tmp_path}/out-%04d.tar", maxcount=3, verbose=0) as writer:
        for number in range(8):
            writer.write({"__key__": f"{number:05d}", "png": make_png(number), "cls": number, "json": {"n": number}})
    index = open_data(f"{tmp_path}/out-{{0000..0002}}.tar")
    assert [shard.num_samples for shard in index.shards] == [3, 3, 2]
    found = [
        sample for shard, info in enumerate(index.shards) for sample in _plain(read_samples(index, shard, 0, info.num_samples))
    ]
    assert found == [sample for shard in range(3) for sample in by_webdataset(tmp_path / f"out-{shard:04d}.tar")]


def test_a_sample_knows_where_it_lies(shard_folder: Path) -> None:
    index = open_data(str(shard_folder))
    sample = read_samples(index, 0, 3, 4)[0]
    content = (shard_folder / "train-000.tar").read_bytes()
    assert sample.uri == str(shard_folder / "train-000.tar")
    assert read_samples(index, 0, 2, 4)[1].offset == sample.offset
    assert content.index(b"a.b/s0003.cls") - sample.offset in range(2048)


def test_a_shard_that_changed_under_its_index_is_refused(shard_folder: Path, make_tar: Callable[..., bytes]) -> None:
    index = open_data(str(shard_folder))
    path = shard_folder / "train-000.tar"
    size = path.stat().st_size
    # Same size, sound tar, other samples: one fewer, or as many at other places.
    for files in ([(f"{n}.png", b"") for n in range(6)], [(f"{n}.png", bytes(n)) for n in range(7)]):
        rewrite(path, make_tar(files).ljust(size, b"\0"))
        with pytest.raises(CorruptDataError, match=r"train-000\.tar"):
            read_samples(index, 0, 0, 7)
    path.write_bytes(path.read_bytes())
    with pytest.raises(PermanentStorageError, match=r"object changed: got version \d+, expected \d+ .*train-000\.tar"):
        read_samples(index, 0, 0, 7)


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes under the old time of change, so that only the bytes tell."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_sample_renamed_into_its_neighbor_is_noticed(
    shard_folder: Path, make_tar: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "s.tar"
    path.write_bytes(make_tar([("1.png", b"x"), ("2.png", b"y"), ("3.png", b"z")]))
    index = open_data(str(path))
    rewrite(path, make_tar([("1.png", b"x"), ("1.cls", b"y"), ("3.png", b"z")]))
    with pytest.raises(CorruptDataError, match=r"hold 2 samples, not the 3 that the index says"):
        read_samples(index, 0, 0, 3)


def test_numbers_outside_the_shard_are_a_programming_error(shard_folder: Path) -> None:
    index = open_data(str(shard_folder))
    for start, stop in ((-1, 2), (0, 8), (5, 4)):
        with pytest.raises(IndexError, match="7 samples"):
            read_samples(index, 0, start, stop)


def test_samples_that_moved_inside_the_range_are_noticed(make_tar: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    path.write_bytes(make_tar([("1.png", bytes(600)), ("2.png", bytes(100))]))
    index = open_data(str(path))
    rewrite(path, make_tar([("1.png", bytes(100)), ("2.png", bytes(600))]))
    with pytest.raises(CorruptDataError, match=r"s\.tar at byte 0"):
        read_samples(index, 0, 0, 2)
