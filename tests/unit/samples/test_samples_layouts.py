"""Parts of every layout: shards that webdataset and training read, raw pixels, keys; each proved, shown and damaged."""

import gc
import io
import json
import tarfile
import warnings
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sample_makers import SHAPE, SPEC, pixels, png, rows_of
from webdataset.compat import WebDataset

from pipeline.errors import CorruptDataError
from pipeline.samples import PartRange, PartSuffix, SampleSet, encode_part, open_ranges, read_samples, verify
from pipeline.samples.mending import mend_published
from pipeline.samples.part import decode_part
from pipeline.shards import open_data


def finished(url: str, suffix: PartSuffix, **kind: bool) -> SampleSet:
    samples = SampleSet(url)
    samples.open(SPEC, num_samples=25)
    for span in open_ranges(25, 10, samples.committed()):
        samples.commit(span.first, encode_part(rows_of(span, **kind), SPEC, suffix), span.rows, suffix)
    samples.publish(25)
    return samples


KINDS = [
    ("tar", {}),
    ("tar", {"keyed": True}),
    ("tar", {"labeled": False}),
    ("parquet", {"raw": True}),
    ("parquet", {"keyed": True}),
]


@pytest.mark.parametrize(("suffix", "kind"), KINDS, ids=str)
def test_a_set_of_every_layout_is_made_read_and_proved(set_url: str, suffix: PartSuffix, kind: dict[str, bool]) -> None:
    finished(set_url, suffix, **kind)
    report = verify(set_url)
    assert report.ok, report.describe()
    labeled = kind.get("labeled", True)
    assert report.label_counts == ({0: 9, 1: 8, 2: 8} if labeled else {None: 25})
    assert report.image_size == ((5, 4) if kind.get("raw") else (6, 6))
    for index, sample in enumerate(read_samples(set_url)):
        assert sample.index == index
        assert sample.image == (pixels(index) if kind.get("raw") else png(index))
        assert sample.label == (index % 3 if labeled else None)
        assert sample.key == (f"key-{index}" if kind.get("keyed") else None)


def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    finished(str(tmp_path), "tar", keyed=True)
    index = json.loads((tmp_path / "data" / "index.json").read_text())
    shards = [str(tmp_path / "data" / shard["url"]) for shard in index["shardlist"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing its files to the garbage collector
        found = list(WebDataset(shards, shardshuffle=False, empty_check=False))
        gc.collect()
    assert [sample["__key__"] for sample in found] == [f"{i:012d}" for i in range(25)]
    assert [sample["png"] for sample in found] == [png(i) for i in range(25)]
    assert [int(sample["cls"]) for sample in found] == [i % 3 for i in range(25)]
    assert [json.loads(sample["json"])["key"] for sample in found] == [f"key-{i}" for i in range(25)]


def test_training_opens_the_shards_by_their_index(tmp_path: Path) -> None:
    finished(str(tmp_path), "tar")
    data = open_data(str(tmp_path / "data"))
    assert [shard.num_samples for shard in data.shards] == [10, 10, 5]


def test_raw_pixels_are_read_with_their_shape(tmp_path: Path) -> None:
    finished(str(tmp_path), "parquet", raw=True)
    card = (tmp_path / "README.md").read_text()
    assert "reshape(-1, 4, 5, 3)" in card
    table = pq.read_table(tmp_path / "data")
    assert json.loads(table.schema.metadata[b"swissroll.shape"]) == list(SHAPE)
    assert table["pixels"].to_pylist() == [pixels(i) for i in range(25)]
    with duckdb.connect() as database:
        assert database.sql(f"SELECT sum(octet_length(pixels)) FROM '{tmp_path}/data/*.parquet'").fetchall() == [(25 * 60,)]


@pytest.mark.parametrize("suffix", ["parquet", "tar"])
def test_the_contact_sheet_shows_the_first_samples(tmp_path: Path, suffix: PartSuffix) -> None:
    finished(str(tmp_path), suffix)
    assert "](contact-sheet.png)" in (tmp_path / "README.md").read_text()
    with Image.open(tmp_path / "contact-sheet.png") as sheet:
        assert sheet.size == (60, 6)  # the ten samples of the first part
        fourth = sheet.crop((18, 0, 24, 6))
        assert fourth.tobytes() == Image.open(io.BytesIO(png(3))).tobytes()


@pytest.mark.parametrize("name", ["README.md", "contact-sheet.png"])
def test_a_card_or_sheet_that_somebody_removed_is_made_again_and_nothing_else_is_touched(tmp_path: Path, name: str) -> None:
    samples = finished(str(tmp_path), "parquet")
    before = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    (problem,) = verify(str(tmp_path)).problems
    assert problem.startswith(f"{name}: got none, expected")
    manifest = (tmp_path / "manifest.json").stat()
    samples.publish(25)  # as a job does that finds all parts there
    assert (tmp_path / name).read_bytes() == before
    assert (tmp_path / "manifest.json").stat().st_ino == manifest.st_ino  # which readers may hold open
    (tmp_path / name).unlink()
    assert mend_published(str(tmp_path), was_published=True) == [f"{name}: made anew from the ledger"]


@pytest.mark.parametrize("text", ["Mine, with ![the first samples](contact-sheet.png)", "Mine; I removed contact-sheet.png."])
def test_a_card_that_was_edited_stays_when_the_sheet_is_lost(tmp_path: Path, text: str) -> None:
    samples = finished(str(tmp_path), "parquet")
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "contact-sheet.png").unlink()
    samples.publish(25)
    assert (tmp_path / "README.md").read_text() == text
    assert (tmp_path / "contact-sheet.png").exists() == ("![" in text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_in_any_byte_of_a_shard_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged-shards"
    if not folder.exists():
        finished(str(folder), "tar")
    file = data.draw(st.sampled_from(sorted((folder / "data").glob("*.tar"))))
    good = file.read_bytes()
    bad = bytearray(good)
    bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(bad)
    report = verify(str(folder))
    file.write_bytes(good)
    assert any(file.name in problem for problem in report.problems)


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "without samples"),
        ({"x.png": b""}, "expected <12 digits>"),
        ({"000000000000.png": b""}, "no sample with image, cls and json"),
        ({"000000000000.json": b'{"index": 0, "run": "a"}'}, "no sample with image"),
        ({"000000000001.json": b'{"index": 0, "run": "a"}', "000000000001.png": b""}, "no sample with image"),
        ({"000000000000.json": b'{"index": 0, "run": "a"}', "000000000000.png": b"", "000000000000.cls": b"1"}, "class 1"),
        ({"000000000000.json": b"[]", "000000000000.png": b""}, "no sample with image"),
        ({"000000000000.json": b'{"index": 0, "run": "a", "label": "q"}', "000000000000.png": b""}, "no sample with"),
    ],
)
def test_a_tar_that_is_no_part_is_corrupt(members: dict[str, bytes], says: str) -> None:
    with pytest.raises(CorruptDataError, match=says):
        decode_part(tar_of(members), "x.tar")


def test_a_shard_of_another_run_is_not_committed(set_url: str) -> None:
    samples = SampleSet(set_url)
    samples.open(SPEC)
    other = encode_part(rows_of(PartRange(0, 5)), {**SPEC, "seed": 8}, "tar")
    SampleSet(set_url).commit(0, other, 5, "tar")  # a straggler of a run that had the folder before
    assert any("provenance other than run.json" in problem for problem in verify(set_url).problems)


def test_raw_pixels_are_no_shard() -> None:
    with pytest.raises(ValueError, match="raw pixels for a tar"):
        encode_part(rows_of(PartRange(0, 2), raw=True), SPEC, "tar")
