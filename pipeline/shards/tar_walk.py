"""Walk the headers of a tar archive: where each member's name, header and bytes are, and nothing else.

Reads ustar, v7, PAX and GNU long-name archives. Data is never copied and never read when it can be jumped over, so the
same walk serves an archive in memory, a slice cut from the middle of one, and an archive of any size behind ranged reads.

A member is a plain tuple, because a shard has hundreds of thousands of them and building a class instance for each would
cost more than parsing the header.
"""

from collections.abc import Callable, Iterator

from pipeline.errors import CorruptDataError
from pipeline.shards.tar_header import (
    BLOCK_BYTES,
    check_header,
    pax_fields,
    pax_size,
    refuse_compressed,
    short_name,
    stated_size,
    stored_text,
)

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


def walk_tar(data: Bytes, uri: str, *, start: int = 0, has_end_marker: bool = True) -> Iterator[Member]:
    """The regular files of a tar archive, or of a slice of one, that lies in memory.

    Args:
        data: The archive's bytes from offset `start` on.
        uri: Where the bytes come from, for error messages.
        start: Offset of `data[0]` in the archive; added to every offset returned.
        has_end_marker: True for a whole archive, which must close with a block of zeros, and have only zeros after
            it; False for a slice, which must end exactly where a member ends.

    Yields:
        One `Member` for each regular file, in archive order; folders, links and devices are passed over.

    Raises:
        CorruptDataError: A header is damaged or unsupported, or the bytes end too early; names `uri` and the offset.
    """
    view = memoryview(data)
    end = start + len(view)
    return _walk(
        lambda first, last: view[first - start : last - start], start, end, len(view), uri, has_end_marker, lambda _: None
    )


def walk_tar_ranges(
    read: Callable[[int, int], Bytes],
    size: int,
    uri: str,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    at_end: Callable[[int], object] = lambda marker: None,
) -> Iterator[Member]:
    """The regular files of a whole tar archive behind ranged reads; data longer than a chunk is never fetched.

    Args:
        read: `read(first, last)` returns the archive's bytes [first, last).
        size: The archive's size in bytes.
        uri: Where the bytes come from, for error messages.
        chunk_bytes: How much to ask for in one read.
        at_end: Called with where the end marker begins, in bytes, once it proved to be the end.

    Yields:
        As `walk_tar`.

    Raises:
        CorruptDataError: As `walk_tar`.
    """
    return _walk(read, 0, size, max(chunk_bytes, BLOCK_BYTES), uri, True, at_end)


def _walk(
    read: Callable[[int, int], Bytes],
    start: int,
    end: int,
    chunk_bytes: int,
    uri: str,
    has_end_marker: bool,
    at_end: Callable[[int], object],
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
                refuse_compressed(bytes(chunk), uri, position)
                raise CorruptDataError(f"tar archive cut inside a header: {len(chunk)} of {BLOCK_BYTES} bytes", uri, position)
        header = bytes(chunk[at : at + BLOCK_BYTES])
        if header == _ZERO_BLOCK:
            if begins >= 0 or not has_end_marker:
                raise CorruptDataError("tar archive has an end marker where a member was expected", uri, position)
            _refuse_more(read, position, chunk[at:], end, chunk_bytes, uri)
            at_end(position)
            return
        check_header(header, uri, position)
        kind = header[156:157]
        size = stated_size(header, uri, position)
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
                long_name = stored_text(record)
            elif kind == b"g":
                _refuse_unsupported(pax_fields(record, uri, data_offset), ("path", "size"), uri, data_offset)
                begins = -1
            elif b"path=" in record or b"size=" in record or b"GNU.sparse" in record:
                # Most records only hold a fractional mtime: webdataset's own writer puts one before every member.
                pax = pax_fields(record, uri, data_offset)
                _refuse_unsupported(pax, (), uri, data_offset)
            continue
        if "size" in pax:
            size = pax_size(pax["size"], uri, position)
        position = _next_block(data_offset, 0 if kind in _DATALESS else size, end, uri)
        if kind in _REGULAR:
            name = pax.get("path") or long_name or short_name(header)
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


def _next_block(data_offset: int, size: int, end: int, uri: str) -> int:
    after = data_offset + (size + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES
    if after > end:
        raise CorruptDataError(
            f"tar archive cut inside a member: {size} bytes of data, {max(end - data_offset, 0)} there", uri, data_offset
        )
    return after


def _refuse_unsupported(fields: dict[str, str], keys: tuple[str, ...], uri: str, offset: int) -> None:
    # A name or size set for all later members would be lost by a reader that starts in the middle of the archive.
    for key in fields:
        if key in keys or key.startswith("GNU.sparse."):
            raise CorruptDataError(f"PAX field {key!r} is not supported here", uri, offset)


def _refuse_more(read: Callable[[int, int], Bytes], marker: int, rest: Bytes, end: int, chunk_bytes: int, uri: str) -> None:
    # Joined archives go on after the end marker, and so does one in which a page was lost and reads as zeros. Tar readers stop
    # there and would lose the members behind it silently. Any byte tells, since writers fill their last record with zeros.
    position = marker
    while True:
        piece = bytes(rest)
        position += len(piece) - len(piece.lstrip(b"\0"))
        if piece.strip(b"\0"):
            raise CorruptDataError(
                f"tar archive goes on after its end marker at byte {marker} (joined archives, or a hole of zeros?)",
                uri,
                position,
            )
        if position >= end:
            return
        rest = read(position, min(position + chunk_bytes, end))
