"""Files damaged between their put and their commit: what is resumed equals what was never disturbed, or is refused by name."""

import io
import secrets
import tarfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_makers import SPEC, finished_set, rows_of

from pipeline import storage
from pipeline.errors import CorruptDataError, PermissionDenied
from pipeline.samples import PartRange, PartSuffix, SampleSet, encode_part, open_ranges, read_samples, verify
from pipeline.samples.mend_run import mend_run_spec
from pipeline.samples.mending import mend_ledger, set_damaged_aside
from pipeline.samples.part import decode_part, rows_in
from pipeline.samples.seal import OPEN_SEAL, is_sealed, seal

ROWS, PART_ROWS = 20, 10
KINDS: dict[str, tuple[PartSuffix, dict[str, bool]]] = {
    "images in Parquet": ("parquet", {}),
    "raw pixels": ("parquet", {"raw": True, "keyed": True}),
    "tar": ("tar", {"keyed": True}),
}


@cache
def made(kind: str, first: int, rows: int = PART_ROWS) -> bytes:
    suffix, how = KINDS[kind]
    return bytes(encode_part(rows_of(PartRange(first, rows), **how), SPEC, suffix))


def resume(url: str, kind: str) -> None:
    """What a job does that comes back."""
    suffix, _ = KINDS[kind]
    samples = SampleSet(url)
    set_damaged_aside(url)
    samples.open(SPEC, num_samples=ROWS)
    samples.adopt()
    for span in open_ranges(ROWS, PART_ROWS, samples.committed()):
        samples.commit(span.first, made(kind, span.first, span.rows), span.rows, suffix)
    samples.publish(ROWS)


def content(url: str) -> dict[str, bytes]:
    found = {one.url[len(url) + 1 :]: storage.read_bytes(one.url) for one in storage.list_objects(url, recursive=True)}
    return {name: data for name, data in found.items() if not name.startswith("quarantine/")}


@cache
def undisturbed(kind: str) -> dict[str, bytes]:
    url = f"memory://{secrets.token_hex(8)}/set"
    resume(url, kind)
    assert verify(url).ok
    return content(url)


@st.composite
def damages(draw: st.DrawFn, good: bytes) -> bytes:
    """A flipped bit anywhere, among the first and last bytes, or beside a name or a header; or a cut, or more bytes."""
    bad = bytearray(good)
    size = len(good)
    marks = [good.find(mark) for mark in (b"swissroll", b"index", b"PAR1", b"ustar", b".json", b'"run"') if mark in good]
    near = st.sampled_from(marks).flatmap(lambda mark: st.integers(max(0, mark - 160), min(size - 1, mark + 160)))
    place = draw(st.integers(0, size - 1) | st.integers(0, 600) | st.integers(size - 1100, size - 1) | near)
    match draw(st.sampled_from(["flip"] * 6 + ["cut", "grow", "zeros"])):
        case "flip":
            bad[place] ^= 1 << draw(st.integers(0, 7))
        case "cut":
            del bad[place:]
        case "grow":
            bad += draw(st.binary(min_size=1, max_size=9))
        case _:
            bad[place : place + 512] = bytes(len(bad[place : place + 512]))
    return bytes(bad)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_on_a_disk_a_damaged_file_is_set_aside_and_made_again(
    kind: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    url = str(tmp_path_factory.mktemp("damaged") / "set")
    suffix, _ = KINDS[kind]
    SampleSet(url).open(SPEC, num_samples=ROWS)
    first = data.draw(st.sampled_from([0, PART_ROWS]))
    bad = data.draw(damages(made(kind, first)))
    storage.put_once(f"{url}/data/part-{first:012d}.{suffix}", bad)
    storage.put_once(f"{url}/data/part-{PART_ROWS - first:012d}.{suffix}", made(kind, PART_ROWS - first))
    resume(url, kind)
    assert content(url) == undisturbed(kind)
    if bad != made(kind, first):
        assert storage.read_bytes(f"{url}/quarantine/data/part-{first:012d}.{suffix}") == bad


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_on_an_object_store_it_is_refused_by_name(kind: str, data: st.DataObject) -> None:
    url = f"memory://{secrets.token_hex(8)}/set"
    suffix, _ = KINDS[kind]
    SampleSet(url).open(SPEC, num_samples=ROWS)
    bad = data.draw(damages(made(kind, 0)))
    name = f"{url}/data/part-000000000000.{suffix}"
    storage.put_once(name, bad)
    if bad != made(kind, 0):
        with pytest.raises(CorruptDataError, match="got a damaged file that nobody committed") as caught:
            resume(url, kind)
        assert caught.value.uri == name
        assert SampleSet(url).committed() == []
        assert any(name.rpartition("/")[2] in problem for problem in verify(url).problems)
        storage.remove_tree(name)  # as --repair does
    resume(url, kind)
    assert content(url) == undisturbed(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_taken_though_this_writer_would_make_another(set_url: str, kind: str) -> None:
    """Libraries were renewed between the kill and the resume, or more samples are wanted now: it proves itself."""
    suffix, _ = KINDS[kind]
    other = {"images in Parquet": {"keyed": True}, "raw pixels": {"raw": True}, "tar": {}}[kind]
    there = bytes(encode_part(rows_of(PartRange(0, 7), **other), SPEC, suffix))
    for commit in (True, False):
        samples = SampleSet(f"{set_url}-{commit}")
        samples.open(SPEC)
        storage.put_once(storage.join(samples.data_url, f"part-000000000000.{suffix}"), there)
        assert set_damaged_aside(samples.url) == []
        (record,) = [samples.commit(0, made(kind, 0), PART_ROWS, suffix)] if commit else samples.adopt()
        assert (record.rows, record.size_bytes) == (7, len(there))
        assert samples.committed() == [record]


def test_a_whole_part_of_another_run_is_left_where_it_is(tmp_path: Path) -> None:
    samples = SampleSet(str(tmp_path))
    samples.open(SPEC)
    other = encode_part(rows_of(PartRange(0, 10)), {**SPEC, "seed": 8})
    storage.put_once(storage.join(samples.data_url, "part-000000000000.parquet"), other)
    assert set_damaged_aside(samples.url) == []
    with pytest.raises(CorruptDataError, match=r"provenance other than run\.json"):
        samples.commit(0, made("images in Parquet", 0), PART_ROWS)


def test_nothing_is_moved_in_a_folder_that_was_no_set(tmp_path: Path) -> None:
    file = tmp_path / "data" / "part-000000000000.parquet"
    file.parent.mkdir()
    file.write_bytes(b"somebody's")
    assert set_damaged_aside(str(tmp_path)) == []
    assert file.read_bytes() == b"somebody's"


def test_a_committed_part_that_is_damaged_gets_no_second_commit(set_url: str) -> None:
    samples = SampleSet(set_url)
    samples.open(SPEC)
    record = samples.commit(0, made("tar", 0), PART_ROWS, "tar")
    url = storage.join(samples.data_url, record.name)
    bad = bytearray(made("tar", 0))
    bad[700] ^= 1
    storage.put_replace(url, bytes(bad))
    assert set_damaged_aside(set_url) == []
    with pytest.raises(CorruptDataError, match="damaged"):
        samples.commit(0, made("tar", 0), PART_ROWS, "tar")
    assert samples.committed() == [record]
    with pytest.raises(CorruptDataError, match="makes the part again"):
        samples.publish(PART_ROWS)


def test_readers_refuse_a_damaged_part(set_url: str) -> None:
    kind = "raw pixels"
    resume(set_url, kind)
    url = storage.join(set_url, "data", f"part-{PART_ROWS:012d}.parquet")
    bad = bytearray(made(kind, PART_ROWS))
    bad[200] ^= 1
    storage.put_replace(url, bytes(bad))
    rows = read_samples(set_url)
    assert [next(rows).index for _ in range(PART_ROWS)] == list(range(PART_ROWS))
    with pytest.raises(CorruptDataError, match="with XXH3-128"):
        next(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seal_is_the_digest_of_all_other_bytes(kind: str) -> None:
    suffix, _ = KINDS[kind]
    file = made(kind, 0)
    assert is_sealed(file, suffix)
    assert not is_sealed(b"", suffix)
    assert not is_sealed(file[:-1], suffix)
    assert not is_sealed(bytes(31), suffix)
    with pytest.raises(ValueError, match="without an open seal"):
        seal(memoryview(bytearray(file)), suffix)
    assert OPEN_SEAL not in file[-1000:]


@pytest.mark.parametrize("place", ["a header", "behind the end"])
def test_a_tar_that_goes_on_where_it_should_end_is_corrupt(place: str) -> None:
    """Python's tarfile takes a damaged header for the end of the archive, and says nothing."""
    bad = bytearray(made("tar", 0))
    with tarfile.open(fileobj=io.BytesIO(bad)) as tar:
        third, last = tar.getmembers()[2], tar.getmembers()[-1]
    bad[third.offset + 148 if place == "a header" else last.offset_data + 512 + 1500] ^= 4
    for read in (decode_part, rows_in):
        with pytest.raises(CorruptDataError, match="behind the last member"):
            read(bytes(bad), "x.tar")


def test_a_manifest_that_may_not_be_read_is_no_damage(set_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`repair` would take the ledger's word for it, and write over it."""
    finished_set(set_url)
    storage.put_replace(storage.join(set_url, "run.json"), b"{")
    read_bytes, refused = storage.read_bytes, storage.join(set_url, "manifest.json")

    def read(url: str) -> bytes:
        if url == refused:
            raise PermissionDenied("permission denied", url)
        return read_bytes(url)

    monkeypatch.setattr(storage, "read_bytes", read)
    for look in (verify, mend_ledger, mend_run_spec):
        with pytest.raises(PermissionDenied, match=r"manifest\.json"):
            look(set_url)
