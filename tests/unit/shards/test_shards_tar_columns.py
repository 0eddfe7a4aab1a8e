"""The fast walk against the careful one: whatever the archive, it says the same or nothing."""

import io
import tarfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.shards.grouping import group_members
from pipeline.shards.tar_columns import walk_samples
from pipeline.shards.tar_walk import walk_tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
Samples = list[tuple[str, dict[str, bytes]]]

fields = st.dictionaries(st.sampled_from(["png", "cls", "json", "seg.png"]), st.binary(max_size=1100), min_size=1, max_size=3)
samples = st.lists(fields, min_size=1, max_size=5).map(lambda found: [(f"dir/{n:03d}", f) for n, f in enumerate(found)])


def archive(content: Samples, kind: str, **header: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[kind]) as tar:
        for key, members in content:
            for field, data in members.items():
                info = tarfile.TarInfo(f"{key}.{field}")
                info.size = len(data)
                for name, value in header.items():
                    setattr(info, name, value)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def without_end(data: bytes) -> tuple[memoryview, np.ndarray]:
    """The members' bytes, and where each sample begins and the last one ends."""
    spans = list(group_members(walk_tar(data, "a.tar"), "a.tar"))
    _, at, size = spans[-1][2][-1]
    end = at + -(-size // 512) * 512
    return memoryview(data)[:end], np.array([begins for _, begins, _ in spans] + [end])


def by_the_fast_walk(data: memoryview, begins: np.ndarray) -> Samples | None:
    found = walk_samples(data, begins)
    if found is None:
        return None
    content: list[list[tuple[str, bytes]]] = [[] for _ in begins[1:]]
    for members in found:
        for row, name, start, stop in zip(*members, strict=True):
            content[row].append((name.decode(), bytes(data[start:stop])))
    return [(names[0][0].partition(".")[0], {n.partition(".")[2]: d for n, d in names}) for names in content]


@given(content=samples, kind=st.sampled_from(list(FORMATS)))
def test_plain_archives_are_walked_in_every_format(content: Samples, kind: str):
    data, begins = without_end(archive(content, kind))
    assert by_the_fast_walk(data, begins) == content


@given(content=samples)
def test_records_of_times_and_owners_are_passed_over(content: Samples):
    data, begins = without_end(archive(content, "pax", mtime=1.25, uname="ü"))
    assert by_the_fast_walk(data, begins) == content


def check_with_a_bit_flipped(data: memoryview, begins: np.ndarray, at: int, bit: int) -> bool:
    """Whether the fast walk takes an archive with one bit flipped; where it does, the careful walk must say the same."""
    damaged = bytearray(data)
    damaged[at] ^= 1 << bit
    found = by_the_fast_walk(memoryview(damaged), begins)
    if found is None:
        return False
    spans = group_members(walk_tar(damaged, "a.tar", has_end_marker=False), "a.tar")
    assert found == [(key, {field: bytes(damaged[at : at + size]) for field, at, size in of}) for key, _, of in spans]
    return True


@given(content=samples, where=st.integers(0, 10**6), bit=st.integers(0, 7), kind=st.sampled_from(list(FORMATS)))
def test_a_flipped_bit_is_never_taken_for_something_else(content: Samples, where: int, bit: int, kind: str):
    data, begins = without_end(archive(content, kind, mtime=1.5))
    check_with_a_bit_flipped(data, begins, where % len(data), bit)


@pytest.mark.parametrize("kind", list(FORMATS))
def test_a_header_with_any_bit_flipped_is_left_to_the_careful_walk(kind: str):
    data, begins = without_end(archive([("0", {"png": b"x"})], kind))
    taken = {(at, bit) for at in range(512) for bit in range(8) if check_with_a_bit_flipped(data, begins, at, bit)}
    assert taken == {(154, 5), (155, 5)}  # a NUL for a space after the checksum's digits, and the other way round


@pytest.mark.parametrize("kind", ["gnu", "pax"])
def test_what_is_not_plain_is_left_to_the_careful_walk(kind: str):
    long = [("d/" * 80 + "0", {"png": b"x"}), ("d/" * 80 + "1", {"png": b"y"})]
    assert walk_samples(*without_end(archive(long, kind))) is None


def test_a_name_in_two_parts_is_left_to_the_careful_walk():
    content = [("d" * 60 + "/" + "e" * 60 + "/0", {"png": b"x"})]
    assert walk_samples(*without_end(archive(content, "ustar"))) is None


def test_links_and_folders_are_left_to_the_careful_walk():
    for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
        data, begins = without_end(archive([("0", {"png": b""})], "ustar"))
        other = archive([("0", {"png": b""})], "ustar", type=kind)[:512]
        assert walk_samples(memoryview(bytes(data) + other), np.array([0, 512, 1024])) is None
        assert begins.tolist() == [0, 512]


def test_samples_that_begin_elsewhere_are_left_to_the_careful_walk():
    data, begins = without_end(archive([("0", {"png": b"x" * 700, "cls": b"1"}), ("1", {"png": b"y"})], "ustar"))
    assert by_the_fast_walk(data, begins) is not None
    for wrong in (begins + np.array([0, 512, 0]), begins - np.array([0, 1, 0]), begins[[0, 2]] - np.array([0, 512])):
        assert walk_samples(data, wrong) is None
