"""PNG by kornia-rs, the fastest decoder measured, for the two kinds that data sets are made of: 8-bit grey and 8-bit RGB."""

import struct
import zlib

import numpy as np
from kornia_rs.io import decode_image_png_u8
from numpy.typing import NDArray

from pipeline.shards.orientation import exif_of_text, stated_orientation

_START = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
_MODES = {0: "mono", 2: "rgb"}  # color type in the header
# Chunks that change what is shown: transparency, orientation, animation.
_OTHERS = frozenset((b"tRNS", b"eXIf", b"acTL"))
_MAX_CHUNKS = 1000
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
# Texts that say which way up the picture is: EXIF as ImageMagick writes it, and XMP.
_EXIF, _XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"
_TURNING = (_EXIF + b"\0", _XMP + b"\0")
_RAW_EXIF = b"tEXtexif\0"  # bytes in a text, which nobody should write: Pillow may read them
_MAX_TEXT = 1 << 20


def png_header(data: bytes) -> tuple[int, int, int, int] | None:
    """(height, width, channels, orientation) of a PNG that `decode_png` takes; None for all other bytes, which are Pillow's.

    Height and width are as stored; the orientation, 1 (upright) to 8, is that of XMP or EXIF in text, 1 where none tells.

    Args:
        data: The file.
    """
    if len(data) < 29 or not data.startswith(_START):
        return None
    width, height, depth, color, compression, filters, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if depth != 8 or color not in _MODES or compression or filters or interlace or not (orientation := _orientation(data)):
        return None
    return height, width, 1 if color == 0 else 3, orientation


def _orientation(data: bytes) -> int:
    # 1 to 8; 0 where the chunks after the header, up to the end, say something that this decoder does not know.
    at, texts = 33, {}
    for _ in range(_MAX_CHUNKS):
        kind = data[at + 4 : at + 8]
        if kind == b"IEND":
            return stated_orientation(exif_of_text(texts.get(_EXIF, b"")), texts.get(_XMP, b"")) if texts else 1
        if len(kind) < 4 or kind in _OTHERS or data.startswith(_RAW_EXIF, at + 4):
            return 0
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if kind in _TEXTS and data.startswith(_TURNING, at + 8):
            # What is used must be sound: with another checksum the file is damaged, and Pillow says so.
            if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                return 0
            keyword, _, body = data[at + 8 : end].partition(b"\0")
            texts[keyword] = _text(kind, body)
        at = end + 4
    return 0


def _text(kind: bytes, body: bytes) -> bytes:
    # Text after its keyword, unpacked; empty where it cannot be, since no text is worth a picture.
    if kind == b"tEXt":
        return body
    packed, method = (True, body[:1]) if kind == b"zTXt" else (body[:1] != b"\0", body[1:2])
    text = body[1:] if kind == b"zTXt" else body[2:].split(b"\0", 2)[-1]  # after a language and the keyword in it
    if not packed:
        return text
    try:
        return zlib.decompressobj().decompress(text, _MAX_TEXT) if method == b"\0" else b""
    except zlib.error:
        return b""


def decode_png(data: bytes, height: int, width: int, channels: int) -> NDArray[np.uint8] | None:
    """uint8 [height, width, channels], as stored; None where the decoder finds fault with the file, for another to judge.

    Args:
        data: The file.
        height: From `png_header`.
        width: From `png_header`.
        channels: From `png_header`.
    """
    try:
        pixels = decode_image_png_u8(data, (height, width), "mono" if channels == 1 else "rgb")
    except Exception:  # noqa: BLE001 (it raises bare Exceptions; Pillow names the damage)
        return None
    return np.asarray(pixels).reshape(height, width, channels)


def check_pixel_chunks(data: memoryview) -> None:
    """Compares the chunks that hold pixels with their checksums, at which Pillow does not look; one that is cut has none.

    Args:
        data: A PNG file.

    Raises:
        ValueError: A checksum is wrong: most such files give other pixels.
    """
    at = 8
    while (end := at + 8 + int.from_bytes(data[at : at + 4], "big")) + 4 <= len(data):
        kind = bytes(data[at + 4 : at + 8])
        if kind == b"IEND":
            return
        stated = int.from_bytes(data[end : end + 4], "big")
        if kind == b"IDAT" and (found := zlib.crc32(data[at + 4 : end])) != stated:
            raise ValueError(f"the pixels from byte {at + 8} on have the checksum {found:08x}, the file says {stated:08x}")
        at = end + 4
