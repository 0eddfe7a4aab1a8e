"""Shards with every kind of damage that a member of a sound tar can have."""

import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def png(number: int) -> bytes:
    """A sound 8x8 grey image that shows its number."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 10^10 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


DAMAGED: dict[int, dict[str, bytes]] = {
    3: {"png": png(3)[:50], "cls": b"3"},  # cut
    10: {"png": b"<html>404 not found</html>", "cls": b"0"},  # no image, whatever its name says
    17: {"png": b"", "cls": b"7"},  # no bytes
    24: {"png": bomb(), "cls": b"4"},
    31: {"png": png(31), "cls": b"cat"},  # no number
    38: {"png": png(38), "cls": b"99"},  # no class of the model
    45: {"png": png(45)},  # no label
    52: {"cls": b"2"},  # no image
    59: {"jpg": b"\xff\xd8\xff\xe0" + bytes(60), "cls": b"9"},  # begins like a JPEG
}
"""Fields of the damaged samples, by number."""

REASONS = ("PNG", "not an image", "0 bytes", "100000", "cat", "label 99", "no label", "expected an image", "JPEG")
"""What the record says about each, in the same order."""

NUM_SAMPLES = 90


def write_damaged(folder: Path, shard_samples: int = 30) -> str:
    """Writes shards of 90 samples, nine of them damaged, and returns the folder."""
    folder.mkdir()
    for first in range(0, NUM_SAMPLES, shard_samples):
        with tarfile.open(folder / f"s-{first:03d}.tar", "w") as archive:
            for number in range(first, first + shard_samples):
                for field, data in DAMAGED.get(number, {"png": png(number), "cls": str(number % 10).encode()}).items():
                    member = tarfile.TarInfo(f"{number:03d}.{field}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return str(folder)
