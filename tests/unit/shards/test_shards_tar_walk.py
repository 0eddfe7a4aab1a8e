import io
import random
import struct
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptDataError
from pipeline.shards.tar_walk import Member, walk_tar, walk_tar_ranges

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
_part = st.text(st.characters(exclude_characters="/\0\r\n", exclude_categories=["Cs"]), min_size=1, max_size=40)
_name = st.lists(_part.filter(lambda part: part not in (".", "..")), min_size=1, max_size=6).map("/".join)
_entry = st.tuples(_name, st.binary(max_size=1500), st.sampled_from(["file", "file", "file", "folder", "link", "float mtime"]))


def _archive(entries: list[tuple[str, bytes, str]], tar_format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for name, data, kind in entries:
            member = tarfile.TarInfo(name)
            if kind == "folder":
                member.type = tarfile.DIRTYPE
            elif kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, "target/" * 30
            else:
                member.size = len(data)
                member.mtime = 1.5 if kind == "float mtime" else 0
            try:
                archive.addfile(member, io.BytesIO(data))
            except (ValueError, UnicodeEncodeError):
                continue  # a name that this format cannot hold
    return buffer.getvalue()


def _by_tarfile(data: bytes) -> list[Member]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [(m.name, m.offset_data, m.size, m.offset) for m in archive.getmembers() if m.isreg()]


@pytest.mark.parametrize("tar_format", FORMATS)
@settings(max_examples=60, deadline=None)
@given(entries=st.lists(_entry, max_size=8), chunk_bytes=st.integers(512, 5000))
def test_members_are_those_that_tarfile_finds(tar_format: int, entries: list[tuple[str, bytes, str]], chunk_bytes: int) -> None:
    data = _archive(entries, tar_format)
    expected = _by_tarfile(data)
    assert list(walk_tar(data, "t.tar")) == expected
    assert list(walk_tar_ranges(lambda a, b: data[a:b], len(data), "t.tar", chunk_bytes=chunk_bytes)) == expected


@settings(max_examples=40, deadline=None)
@given(entries=st.lists(_entry, min_size=1, max_size=8), cut=st.data())
def test_a_slice_between_members_gives_exactly_those_members(entries: list[tuple[str, bytes, str]], cut: st.DataObject) -> None:
    data = _archive([(name, content, "float mtime") for name, content, _ in entries], tarfile.PAX_FORMAT)
    members = _by_tarfile(data)
    begins = [member[3] for member in members]
    begins.append(members[-1][1] + -(-members[-1][2] // 512) * 512)
    first = cut.draw(st.integers(0, len(members)))
    last = cut.draw(st.integers(first, len(members)))
    piece = data[begins[first] : begins[last]]
    assert list(walk_tar(piece, "t.tar", start=begins[first], has_end_marker=False)) == members[first:last]


def test_long_data_is_jumped_over(make_tar) -> None:
    data = make_tar([("a.bin", bytes(1 << 20)), ("b.bin", b"x"), ("c.bin", bytes(1 << 20))])
    asked: list[tuple[int, int]] = []

    def read(first: int, last: int) -> bytes:
        asked.append((first, last))
        return data[first:last]

    names = [name for name, *_ in walk_tar_ranges(read, len(data), "t.tar", chunk_bytes=4096)]
    assert names == ["a.bin", "b.bin", "c.bin"]
    assert sum(last - first for first, last in asked) < 40_000


def test_sizes_beyond_octal_are_understood() -> None:
    # 9 GiB in GNU's base-256 form and in a PAX record; only headers exist, data is "jumped over".
    size = 9 << 30
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        member = tarfile.TarInfo("big.bin")
        member.size = size
        header = member.tobuf(tar_format)

        def read(first: int, last: int, header: bytes = header) -> bytes:
            return (header[first:last] + bytes(last - first))[: last - first]

        total = len(header) + size + 10240
        found = list(walk_tar_ranges(read, total, "t.tar", chunk_bytes=1024))
        assert found == [("big.bin", len(header), size, 0)]


def test_signed_checksums_of_old_writers_are_accepted() -> None:
    member = tarfile.TarInfo("é.png")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    signed = 256 + sum(struct.unpack_from("148b8x356b", header))
    header[148:156] = b"%06o\0 " % signed
    assert [name for name, *_ in walk_tar(bytes(header) + bytes(1024), "t.tar")] == ["é.png"]


@pytest.mark.parametrize("tar_format", FORMATS)
def test_every_cut_is_noticed(make_tar, tar_format: int) -> None:
    data = make_tar([("k.png", b"x" * 700), ("n" * 150 + "/k.cls", b"1")], tar_format)
    end = max(at + 512 for _, at, _, _ in _by_tarfile(data))
    for length in range(0, end + 1, 16):
        with pytest.raises(CorruptDataError, match=r"t\.tar"):
            list(walk_tar(data[:length], "t.tar"))


def test_damage_in_a_header_is_named_with_its_offset(make_tar) -> None:
    data = make_tar([(f"{n}.png", bytes(600)) for n in range(4)])
    _, _, _, begins = list(walk_tar(data, "t.tar"))[2]
    rng = random.Random(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[begins + rng.randrange(512)] ^= 1 << rng.randrange(8)
        with pytest.raises(CorruptDataError) as caught:
            list(walk_tar(bytes(damaged), "t.tar"))
        assert (caught.value.uri, caught.value.offset) == ("t.tar", begins)


@pytest.mark.parametrize("data", [b"\x89PNG" + bytes(2000), b"hello " * 200, b"\x1f\x8b" + bytes(range(256)) * 4])
def test_what_is_no_tar_is_refused_at_byte_0(data: bytes) -> None:
    with pytest.raises(CorruptDataError, match=r"not a tar header.* \(t\.tar at byte 0\)"):
        list(walk_tar(data, "t.tar"))


def test_sparse_members_are_refused() -> None:
    header = bytearray(tarfile.TarInfo("s.bin").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
    with pytest.raises(CorruptDataError, match="sparse"):
        list(walk_tar(bytes(header) + bytes(1024), "t.tar"))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (b"12 path=abc\n", None),
        (b"99 path=abc\n", "malformed"),
        (b"path=abc\n", "malformed"),
        (b"15 size=-10000\n", "size is '-10000'"),
        (b"27 GNU.sparse.name=a/b.png\n", "GNU.sparse"),
    ],
)
def test_pax_records(record: bytes, problem: str | None) -> None:
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, len(record)
    data = pax.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0") + tarfile.TarInfo("x").tobuf() + bytes(1024)
    if problem is None:
        assert list(walk_tar(data, "t.tar")) == [("abc", 1536, 0, 0)]
    else:
        with pytest.raises(CorruptDataError, match=problem):
            list(walk_tar(data, "t.tar"))


def test_a_global_name_for_all_members_is_refused_but_a_comment_is_not() -> None:
    for headers, refused in (({"comment": "made by git archive"}, False), ({"path": "x.png"}, True)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
            archive.addfile(tarfile.TarInfo("a.png"))
        if refused:
            with pytest.raises(CorruptDataError, match="'path' is not supported"):
                list(walk_tar(buffer.getvalue(), "t.tar"))
        else:
            assert list(walk_tar(buffer.getvalue(), "t.tar")) == _by_tarfile(buffer.getvalue())


def test_a_slice_that_ends_inside_a_member_or_before_one_is_refused(make_tar) -> None:
    data = make_tar([("n" * 150, b"x" * 600)], tarfile.PAX_FORMAT)  # record header, record, header, two blocks of data
    assert len(list(walk_tar(data[: 5 * 512], "t.tar", has_end_marker=False))) == 1
    for blocks in (1, 2, 3, 4):
        with pytest.raises(CorruptDataError, match=r"t\.tar at byte"):
            list(walk_tar(data[: blocks * 512], "t.tar", has_end_marker=False))
    with pytest.raises(CorruptDataError, match="end marker where a member was expected"):
        list(walk_tar(data[: 6 * 512], "t.tar", has_end_marker=False))


def test_folders_of_v7_archives_are_passed_over() -> None:
    # Before POSIX a folder was a file of no bytes whose name ends with a slash.
    header = bytearray(tarfile.TarInfo("folder.d/").tobuf(tarfile.USTAR_FORMAT))
    header[156] = 0
    header[257:512] = bytes(255)
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
    data = bytes(header) + tarfile.TarInfo("a.png").tobuf() + bytes(1024)
    assert list(walk_tar(data, "t.tar")) == _by_tarfile(data) == [("a.png", 1024, 0, 512)]
