"""Chained URLs into archives, `zip://a.tar::FILE`: a file that is no such archive is the user's to mend, and no traceback."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import PermanentStorageError
from pipeline.storage.faults import in_our_words

MEMBER = bytes(range(256)) * 100


def zipped(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.tar", MEMBER)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.tar")
        member.size = len(MEMBER)
        archive.addfile(member, io.BytesIO(MEMBER))
    return buffer.getvalue()


def flipped(data: bytes, start: int, end: int) -> bytes:
    return data[:start] + bytes(byte ^ 0x5A for byte in data[start:end]) + data[end:]


def with_password(data: bytes) -> bytes:
    """With the flag that says so, in the member's header and in the directory."""
    place = data.index(b"PK\x01\x02") + 8
    return data[:6] + b"\x01" + data[7:place] + b"\x01" + data[place + 1 :]


LOOKS: list[Callable[[str], object]] = [storage.exists, storage.is_folder, storage.info, storage.list_objects, storage.glob]
READS: list[Callable[[str], object]] = [storage.read_bytes, lambda url: storage.read_range(url, 0, 10)]


@pytest.mark.parametrize("operation", LOOKS + READS)
@pytest.mark.parametrize(
    ("chain", "name", "content"),
    [
        ("zip://a.tar::", "no.zip", b"no zip at all"),
        ("zip://a.tar::", "empty.zip", b""),
        ("tar://a.tar::", "no.tar", b"no tar at all" * 100),
        ("tar://a.tar::", "no.zip", b"no zip at all"),
        ("tar://a.tar::", "empty.tar", b""),
        ("tar://a.tar::", "cut.tar", tarred()[:700]),
        ("tar://a.tar::", "no.tar.gz", b"no gzip at all" * 100),
        ("tar://a.tar::", "cut.tar.gz", gzip.compress(tarred())[:150]),
        ("tar://a.tar::", "flipped.tar.gz", flipped(gzip.compress(tarred()), 60, 90)),
        ("simplecache::zip://a.tar::", "no.zip", b"no zip at all"),
    ],
)
def test_a_container_of_another_kind_is_told_in_one_line(
    tmp_path: Path, chain: str, name: str, content: bytes, operation: Callable[[str], object]
):
    (tmp_path / name).write_bytes(content)
    url = f"{chain}{tmp_path / name}"
    with pytest.raises(PermanentStorageError) as caught:
        operation(url)
    assert "got no archive that can be read after the '::'" in str(caught.value)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    "content",
    [flipped(zipped(), 50, 90), b"\0" + zipped()[1:], with_password(zipped())],
    ids=["damaged member", "damaged header", "password"],
)
def test_a_member_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, content: bytes, read: Callable[[str], object]):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(PermanentStorageError, match="got no archive that can be read") as caught:
        read(f"zip://a.tar::{tmp_path / 'a.zip'}")
    assert "\n" not in str(caught.value)


def test_sound_archives_are_read(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(zipped())
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tarred()))
    for url in (f"zip://a.tar::{tmp_path / 'a.zip'}", f"tar://a.tar::{tmp_path / 'a.tar.gz'}"):
        assert storage.read_bytes(url) == MEMBER
        assert bytes(storage.read_range(url, 5, 9)) == MEMBER[5:9]


def test_the_same_errors_without_a_chain_are_no_answer_of_a_store():
    assert in_our_words(zipfile.BadZipFile("no zip"), "s3://bucket/object", "info") is None
    assert in_our_words(RuntimeError("a mistake in the code"), "zip://a.tar::/a.zip", "info") is None
