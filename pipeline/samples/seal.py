"""The seal of a part: the digest of the whole file inside the file, by which a part proves itself that nobody committed yet.

Parquet: the value of the key `swissroll.xxh3_128` in the footer. Tar: the last bytes of the padding of the last member, where
readers look at nothing, and before the zeros that end an archive. The digest is that of the file with zeros for digits in its
own place.
"""

import tarfile

import xxhash

from pipeline.samples.ledger import PartSuffix

SEAL_KEY = b"swissroll.xxh3_128"
OPEN_SEAL = b"0" * 32
"""What is in the seal's place before the file is sealed."""

_BYTES_VALUE = bytes([0x18, len(OPEN_SEAL)])
"""What Thrift's compact protocol has between a key and its value: the next field, of type binary, and its length."""
_FOOTER_END_BYTES = 8


def seal(file: memoryview, suffix: PartSuffix) -> None:
    """Seals a file in place, without copying it.

    Args:
        file: A part with an open seal, writable.
        suffix: What kind of file it is.
    """
    place = _place(file, suffix)
    if place is None or file[place : place + len(OPEN_SEAL)] != OPEN_SEAL:
        raise ValueError(f"got a {suffix} file without an open seal")
    file[place : place + len(OPEN_SEAL)] = _digest(file, place)


def is_sealed(data: bytes | memoryview, suffix: PartSuffix) -> bool:
    """Whether every byte of a file is the one that was there when it was sealed."""
    view = memoryview(data)
    place = _place(view, suffix)
    return place is not None and view[place : place + len(OPEN_SEAL)] == _digest(view, place)


def _place(file: memoryview, suffix: PartSuffix) -> int | None:
    if suffix == "tar":
        tail = bytes(file[max(0, len(file) - 2 * tarfile.RECORDSIZE) :])
        place = len(file) - (len(tail) - len(tail.rstrip(b"\0"))) - len(OPEN_SEAL)
        return place if place >= 0 else None
    footer_bytes = int.from_bytes(file[-_FOOTER_END_BYTES:-4], "little") + _FOOTER_END_BYTES
    start = max(0, len(file) - footer_bytes)
    before = SEAL_KEY + _BYTES_VALUE
    at = bytes(file[start:]).rfind(before)
    return None if at < 0 else start + at + len(before)


def _digest(file: memoryview, place: int) -> bytes:
    digest = xxhash.xxh3_128(file[:place])
    digest.update(OPEN_SEAL)
    digest.update(file[place + len(OPEN_SEAL) :])
    return digest.hexdigest().encode()
