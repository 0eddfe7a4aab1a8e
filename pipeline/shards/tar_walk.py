"""Walk the headers of a tar archive: where each member's name, header and bytes are, and nothing else.

Reads ustar, v7, PAX and GNU long-name archives. Data is never copied and never read when it can be jumped over, so the
same walk serves an archive in memory, a slice cut from the middle of one, and an archive of any size behind ranged reads.

A member is a plain tuple, because a shard has hundreds of thousands of them and building a class instance for each would
cost more than parsing the header.
"""

import re
import struct
from collections.abc import Callable, Iterator
from zlib import adler32

from pipeline.errors import CorruptDataError

BLOCK_BYTES = 512
"""Tar's unit: every header is one block, and every member's data is padded to whole blocks."""

CHUNK_BYTES = 8 << 20
"""How much one ranged read asks for when the archive is not in memory."""

MAX_EXTENSION_BYTES = 1 << 20
"""Longest PAX or long-name record believed; longer ones come from damage, not from names."""

Member = tuple[str, int, int, int]
"""(name, data_offset, size, header_offset): a regular file; offsets and size in bytes, offsets from the archive's start.

`header_offset` is where the member begins, that is at its PAX or long-name record when it has one."""

Bytes = bytes | bytearray | memoryview
"""What holds bytes."""

_ZERO_BLOCK = bytes(BLOCK_BYTES)
_REGULAR = b"0\x007"  # file, file in v7 archives, contiguous file
_DATALESS = b"123456"  # links, devices, folders, pipes: a size there does not mean that data follows
_PAX_LENGTH = re.compile(rb"(\d{1,20}) ")


def walk_tar(data: Bytes, uri: str, *, start: int = 0, has_end_marker: bool = True) -> Iterator[Member]:
    """The regular files of a tar archive, or of a slice of one, that lies in memory.

    Args:
        data: The archive's bytes from offset `start` on.
        uri: Where the bytes come from, for error messages.
        start: Offset of `data[0]` in the archive; added to every offset returned.
        has_end_marker: True for a whole archive, which must close with a block of zeros; False for a slice, which must
            end exactly where a member ends.

    Yields:
        One `Member` for each regular file, in archive order; folders, links and devices are passed over.

    Raises:
        CorruptDataError: A header is damaged or unsupported, or the bytes end too early; names `uri` and the offset.
    """
    view = memoryview(data)
    end = start + len(view)
    return _walk(lambda first, last: view[first - start : last - start], start, end, len(view), uri, has_end_marker)


def walk_tar_ranges(
    read: Callable[[int, int], Bytes], size: int, uri: str, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Member]:
    """The regular files of a whole tar archive behind ranged reads; data longer than a chunk is never fetched.

    Args:
        read: `read(first, last)` returns the archive's bytes [first, last).
        size: The archive's size in bytes.
        uri: Where the bytes come from, for error messages.
        chunk_bytes: How much to ask for in one read.

    Yields:
        As `walk_tar`.

    Raises:
        CorruptDataError: As `walk_tar`.
    """
    return _walk(read, 0, size, max(chunk_bytes, BLOCK_BYTES), uri, True)


def _walk(
    read: Callable[[int, int], Bytes],
    start: int,
    end: int,
    chunk_bytes: int,
    uri: str,
    has_end_marker: bool,
) -> Iterator[Member]:
    position = start
    chunk: Bytes = b""
    chunk_start = start
    begins = -1  # where the member that the coming header belongs to begins, once an extension record announced it
    long_name: str | None = None
    pax: dict[str, str] = {}
    while position < end:
        at = position - chunk_start
        if at + BLOCK_BYTES > len(chunk):
            chunk, chunk_start, at = read(position, min(position + chunk_bytes, end)), position, 0
            if len(chunk) < BLOCK_BYTES:
                raise CorruptDataError(f"tar archive cut inside a header: {len(chunk)} of {BLOCK_BYTES} bytes", uri, position)
        header = bytes(chunk[at : at + BLOCK_BYTES])
        if header == _ZERO_BLOCK:
            if begins >= 0 or not has_end_marker:
                raise CorruptDataError("tar archive has an end marker where a member was expected", uri, position)
            _refuse_second_archive(read, position, end, chunk_bytes, uri)
            return
        _check_sum(header, uri, position)
        kind = header[156:157]
        size = _number(header, uri, position)
        data_offset = position + BLOCK_BYTES
        if begins < 0:
            begins = position
        if kind in b"LKxXg":
            if size > MAX_EXTENSION_BYTES:
                raise CorruptDataError(f"tar extension record of {size} bytes, at most {MAX_EXTENSION_BYTES}", uri, position)
            position = _next_block(data_offset, size, end, uri)
            if kind == b"K":
                continue  # the long target of a link, and links are passed over
            at += BLOCK_BYTES
            record = bytes(chunk[at : at + size] if at + size <= len(chunk) else read(data_offset, data_offset + size))
            if kind == b"L":
                long_name = _text(record)
            elif kind == b"g":
                _refuse_unsupported(_pax_fields(record, uri, data_offset), ("path", "size"), uri, data_offset)
                begins = -1
            elif b"path=" in record or b"size=" in record or b"GNU.sparse" in record:
                # Most records only hold a fractional mtime: webdataset's own writer puts one before every member.
                pax = _pax_fields(record, uri, data_offset)
                _refuse_unsupported(pax, (), uri, data_offset)
            continue
        if "size" in pax:
            size = _pax_size(pax["size"], uri, position)
        position = _next_block(data_offset, 0 if kind in _DATALESS else size, end, uri)
        if kind in _REGULAR:
            name = pax.get("path") or long_name or _short_name(header)
            if kind != b"\x00" or not name.endswith("/"):  # v7 marks folders by their last character only
                yield name, data_offset, size, begins
        elif kind == b"S":
            raise CorruptDataError("sparse tar member, only plain files are supported", uri, begins)
        begins, long_name = -1, None
        if pax:
            pax = {}
    if begins >= 0:
        raise CorruptDataError("tar archive cut after an extension record, before its member", uri, position)
    if has_end_marker:
        raise CorruptDataError(f"tar archive ends at byte {end} without its end marker, it was cut", uri, end)


def _check_sum(header: bytes, uri: str, offset: int) -> None:
    # adler32's low half is 1 + the sum of the bytes mod 65521, and 256 bytes cannot reach 65521: an exact sum at C speed.
    # The checksum counts its own eight bytes (148..156) as spaces.
    try:
        expected = int(header[148:156].strip(b"\0 "), 8)
    except ValueError:
        raise CorruptDataError("not a tar header: its checksum is no octal number", uri, offset) from None
    total = (
        (adler32(header[:148]) & 0xFFFF) + (adler32(header[156:412]) & 0xFFFF) + (adler32(header[412:]) & 0xFFFF) - 3 + 8 * 32
    )
    if total != expected:
        # Some old writers summed signed characters.
        signed = sum(struct.unpack_from("148b8x356b", header)) + 8 * 32
        if signed != expected:
            raise CorruptDataError(f"tar header's checksum is {total}, the header says {expected}", uri, offset)


def _number(header: bytes, uri: str, offset: int) -> int:
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


def _next_block(data_offset: int, size: int, end: int, uri: str) -> int:
    after = data_offset + (size + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES
    if after > end:
        raise CorruptDataError(
            f"tar archive cut inside a member: {size} bytes of data, {max(end - data_offset, 0)} there", uri, data_offset
        )
    return after


def _short_name(header: bytes) -> str:
    name = _text(header[:100])
    # Only POSIX headers have a prefix; GNU ones ("ustar  ") keep times in those bytes.
    if header[345] and header[257:263] == b"ustar\0":
        return f"{_text(header[345:500])}/{name}"
    return name


def _text(field: bytes) -> str:
    # Names are bytes to tar; surrogateescape keeps those that are not UTF-8 distinct, as Python's own tarfile does.
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax_fields(record: bytes, uri: str, offset: int) -> dict[str, str]:
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


def _pax_size(value: str, uri: str, offset: int) -> int:
    if not (value.isascii() and value.isdigit()):
        raise CorruptDataError(f"PAX size is {value!r}, expected decimal digits", uri, offset)
    return int(value)


def _refuse_unsupported(fields: dict[str, str], keys: tuple[str, ...], uri: str, offset: int) -> None:
    # A name or size set for all later members would be lost by a reader that starts in the middle of the archive.
    for key in fields:
        if key in keys or key.startswith("GNU.sparse."):
            raise CorruptDataError(f"PAX field {key!r} is not supported here", uri, offset)


def _refuse_second_archive(read: Callable[[int, int], Bytes], position: int, end: int, chunk_bytes: int, uri: str) -> None:
    # Archives joined with `cat` go on after the marker; tar readers stop there and would lose those members silently.
    while position < end:
        tail = bytes(read(position, min(position + chunk_bytes, end)))
        filled = len(tail) - len(tail.lstrip(b"\0"))
        if filled < len(tail):
            at = filled // BLOCK_BYTES * BLOCK_BYTES
            header = bytes(read(position + at, min(position + at + BLOCK_BYTES, end)))
            if len(header) == BLOCK_BYTES:
                try:
                    _check_sum(header, uri, position + at)
                except CorruptDataError:
                    return  # padding left by the writer, no member
                raise CorruptDataError("tar archive goes on after its end marker (joined archives?)", uri, position + at)
            return
        position += len(tail)
