"""One header of a tar archive, or the record that extends it: from bytes to names and numbers."""

import re
import struct
from zlib import adler32

from pipeline.errors import CorruptDataError

BLOCK_BYTES = 512
"""Tar's unit: every header is one block, and every member's data is padded to whole blocks."""

_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"PK\3\4": "zip",
    b"\x04\x22\x4d\x18": "lz4",
}
_PAX_LENGTH = re.compile(rb"(\d{1,20}) ")


def check_header(header: bytes, uri: str, offset: int) -> None:
    """Raises where a block is no header, or a damaged one.

    Args:
        header: The block.
        uri: The archive, for the error.
        offset: Where the block is.

    Raises:
        CorruptDataError: Its checksum does not fit; of a compressed file the message says what compressed it.
    """
    # adler32's low half is 1 + the sum of the bytes mod 65521, and 256 bytes cannot reach 65521: an exact sum at C speed.
    # The checksum counts its own eight bytes (148..156) as spaces.
    try:
        expected = int(header[148:156].strip(b"\0 "), 8)
    except ValueError:
        refuse_compressed(header, uri, offset)
        raise CorruptDataError("not a tar header: its checksum is no octal number", uri, offset) from None
    total = (
        (adler32(header[:148]) & 0xFFFF) + (adler32(header[156:412]) & 0xFFFF) + (adler32(header[412:]) & 0xFFFF) - 3 + 8 * 32
    )
    if total != expected:
        # Some old writers summed signed characters.
        signed = sum(struct.unpack_from("148b8x356b", header)) + 8 * 32
        if signed != expected:
            raise CorruptDataError(f"tar header's checksum is {total}, the header says {expected}", uri, offset)


def refuse_compressed(start: bytes, uri: str, offset: int) -> None:
    """Raises where an archive begins like a compressed file, which no range can be read from.

    Args:
        start: The first bytes.
        uri: The archive, for the error.
        offset: Where they are; only the beginning of an archive tells.

    Raises:
        CorruptDataError: It does.
    """
    for magic, name in _COMPRESSIONS.items() if offset == 0 else ():
        if start.startswith(magic):
            raise CorruptDataError(
                f"not a tar header but {name}: ranges of a compressed tar cannot be read, expected it unpacked", uri, offset
            )


def stated_size(header: bytes, uri: str, offset: int) -> int:
    """Bytes of data after a header, as the header says.

    Raises:
        CorruptDataError: What it says is no number.
    """
    field = header[124:136]
    if field[0] == 0x80:  # GNU's form for 8 GiB and more: the rest is one big-endian integer
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b"\0 ")
    if not digits:
        return 0
    if not digits.isdigit():
        raise CorruptDataError(f"tar header's size is {bytes(field)!r}, expected octal digits", uri, offset)
    try:
        return int(digits, 8)
    except ValueError:
        raise CorruptDataError(f"tar header's size is {bytes(field)!r}, expected octal digits", uri, offset) from None


def short_name(header: bytes) -> str:
    """The name in a header; another one may stand in a record before it."""
    name = stored_text(header[:100])
    # Only POSIX headers have a prefix; GNU ones ("ustar  ") keep times in those bytes.
    if header[345] and header[257:263] == b"ustar\0":
        return f"{stored_text(header[345:500])}/{name}"
    return name


def stored_text(field: bytes) -> str:
    """A name as it is stored: up to the first zero byte."""
    # Names are bytes to tar; surrogateescape keeps those that are not UTF-8 distinct, as Python's own tarfile does.
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def pax_fields(record: bytes, uri: str, offset: int) -> dict[str, str]:
    """What a PAX record says of the member after it.

    Args:
        record: The record's bytes.
        uri: The archive, for the error.
        offset: Where the record is.

    Raises:
        CorruptDataError: It is damaged.
    """
    # A sequence of "LENGTH KEY=VALUE\n", LENGTH counting the whole line in bytes.
    fields = {}
    at = 0
    while at < len(record) and record[at]:
        match = _PAX_LENGTH.match(record, at)
        length = int(match[1]) if match else 0
        line = record[at : at + length]
        key, equals, value = line[len(match[0]) : -1].partition(b"=") if match else (b"", b"", b"")
        if not equals or len(line) != length or line[-1:] != b"\n":
            raise CorruptDataError("malformed PAX record, expected 'LENGTH KEY=VALUE'", uri, offset + at)
        fields[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at += length
    return fields


def pax_size(value: str, uri: str, offset: int) -> int:
    """Bytes of data after the member's header, as a PAX record says.

    Raises:
        CorruptDataError: What it says is no number.
    """
    if not (value.isascii() and value.isdigit()):
        raise CorruptDataError(f"PAX size is {value!r}, expected decimal digits", uri, offset)
    return int(value)
