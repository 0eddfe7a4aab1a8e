"""How a tar begins and ends: what is no tar, what goes on after the end marker, and how little is read to know it."""

import bz2
import contextlib
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptDataError
from pipeline.shards.tar_walk import walk_tar, walk_tar_ranges


def _tar(files: list[tuple[str, bytes]], tar_format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5 if tar_format == tarfile.PAX_FORMAT else 0
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_joined_archives_and_bytes_after_the_end_are_refused_and_padding_is_not() -> None:
    one, two = _tar([("a.png", b"1")]), _tar([("b.png", b"2")])
    with pytest.raises(CorruptDataError, match=r"end marker at byte 1024 \(joined archives.* \(t\.tar at byte 10240\)"):
        list(walk_tar(one + two, "t.tar"))
    with pytest.raises(CorruptDataError, match="at byte 10249"):
        list(walk_tar(one + bytes(9) + b"junk", "t.tar"))
    assert len(list(walk_tar(one + bytes(100_000), "t.tar"))) == 1
    for length in (1536, 1537, 2047, 2048, 5000):  # one block of zeros, more, and not in whole blocks
        assert len(list(walk_tar(one[:length], "t.tar"))) == 1


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.integers(1, 5000), min_size=2, max_size=12), place=st.data(), chunk_bytes=st.integers(512, 9000))
def test_a_page_that_reads_as_zeros_loses_no_member_silently(
    tar_format: int, sizes: list[int], place: st.DataObject, chunk_bytes: int
) -> None:
    data = bytearray(_tar([(f"{n}.png", b"x" * size) for n, size in enumerate(sizes)], tar_format))
    members = list(walk_tar(bytes(data), "t.tar"))
    at = 512 * place.draw(st.integers(0, members[-1][3] // 512))
    data[at : at + 4096] = bytes(4096)
    for walk in (
        lambda: walk_tar(bytes(data), "t.tar"),
        lambda: walk_tar_ranges(lambda a, b: bytes(data[a:b]), len(data), "t.tar", chunk_bytes=chunk_bytes),
    ):
        # What lies behind the hole tells of it; where it takes the end with it, only an index knows better.
        with contextlib.suppress(CorruptDataError):
            assert list(walk()) == members or not data[at:].strip(b"\0")


def test_a_shard_up_to_a_chunk_is_one_read_and_the_zeros_of_a_larger_one_are_read_in_pieces() -> None:
    data = _tar([("a.png", b"x" * 3000), ("b.png", b"y" * 3000)])
    asked: list[tuple[int, int]] = []

    def read(first: int, last: int) -> bytes:
        asked.append((first, last))
        return whole[first:last]

    whole = data
    assert len(list(walk_tar_ranges(read, len(whole), "t.tar", chunk_bytes=len(whole)))) == 2
    assert asked == [(0, len(data))]
    asked.clear()
    whole = data + bytes(50_000) + b"\1" + bytes(500_000)
    with pytest.raises(CorruptDataError, match=f"t.tar at byte {len(data) + 50_000}"):
        list(walk_tar_ranges(read, len(whole), "t.tar", chunk_bytes=10_000))
    assert [last for _, last in asked] == [10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 80_000][: len(asked)]
    assert asked[-1][1] < len(data) + 70_000


@pytest.mark.parametrize(
    ("pack", "name"),
    [(gzip.compress, "gzip"), (lzma.compress, "xz"), (bz2.compress, "bzip2"), (lambda data: b"PK\3\4" + data, "zip")],
)
@pytest.mark.parametrize("data", [bytes(range(9)), bytes(random.Random(0).randbytes(5000))])
def test_a_compressed_tar_is_named_by_what_compressed_it(pack: Callable[[bytes], bytes], name: str, data: bytes) -> None:
    with pytest.raises(CorruptDataError, match=f"{name}: ranges of a compressed tar cannot be read"):
        list(walk_tar(pack(data), "t.tar"))
