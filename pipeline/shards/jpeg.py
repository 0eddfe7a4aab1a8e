"""JPEG by libjpeg-turbo, the decoder of nearly every large image data set and the fastest there is for it."""

import struct
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pipeline.shards.orientation import tiff_orientation, xmp_orientation

_SCAN = 0xDA
_APP1 = 0xE1
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_segment = struct.Struct(">BBH").unpack_from
_frame = struct.Struct(">HHB").unpack_from


def is_jpeg(data: memoryview) -> bool:
    """Whether the bytes begin as a JPEG does, whatever the file was called."""
    return bytes(data[:3]) == b"\xff\xd8\xff"


class JpegHeader(NamedTuple):
    """What a JPEG says before its pixels."""

    height: int
    """As stored, before any EXIF turn; 0 where the segments do not tell."""
    width: int
    """Likewise."""
    components: int
    """1 for grey, 3 for color, 4 for print (CMYK)."""
    orientation: int
    """How the camera was held: 1 (upright) to 8, from the EXIF block, or else from XMP; 1 where neither tells."""


_last: tuple[bytes, JpegHeader] = (b"", JpegHeader(0, 0, 0, 1))
"""All bytes that the last walk looked at, its first scan's marker included, and what they say."""


def jpeg_header(data: memoryview) -> JpegHeader:
    """Header from the segments up to the first scan, in one walk; what is odd about them is for libjpeg to say.

    Args:
        data: A file that `is_jpeg`.
    """
    global _last
    known, header = _last
    # Pictures of one size that one program wrote have the same header, byte for byte.
    if known and bytes(data[: len(known)]) == known:
        return header
    header, end = _walked(data)
    if end:
        _last = bytes(data[:end]), header
    return header


def _walked(data: memoryview) -> tuple[JpegHeader, int]:
    # Also how many bytes were looked at, the first scan's marker included; 0 where the walk did not come to it.
    height, width, components, orientation, xmp = 0, 0, 0, None, b""
    at, last, seen, is_whole = 2, len(data) - 4, 0, False
    while at <= last:
        mark, marker, length = _segment(data, at)
        if mark != 0xFF or marker == _SCAN:
            seen, is_whole = max(seen, at + 2), mark == 0xFF
            break
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _FRAMES and at + 10 <= len(data):
            height, width, components = _frame(data, at + 5)
            seen = at + 10
        elif marker == _APP1:
            seen = at + 33  # beyond the segment, where that is too short for what is looked for
            if data[at + 4 : at + 33] == _XMP:
                xmp = data[at + 33 : at + 2 + length]  # of several, the last, as in Pillow
            elif orientation is None and data[at + 4 : at + 10] == b"Exif\0\0":  # a second block only goes on with the first
                orientation = tiff_orientation(data[at + 10 : at + 2 + length])
        at += 2 + length
    header = JpegHeader(height, width, components, orientation or (xmp_orientation(xmp) if xmp else 0) or 1)
    return header, seen if is_whole and seen <= len(data) else 0


def jpeg_size(data: memoryview) -> tuple[int, int, str]:
    """(height, width, color space) as libjpeg reads them; the color space is `Gray`, `YCbCr`, `CMYK`, ...

    Raises:
        ValueError: The header cannot be read, or libjpeg has something to remark on it.
    """
    height, width, color_space, _ = simplejpeg.decode_jpeg_header(data)
    return int(height), int(width), color_space


def decode_jpeg(
    data: memoryview, channels: int, short_side: int | None, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """uint8 [H, W, channels], as stored, before any EXIF turn.

    Args:
        data: The file; not CMYK.
        channels: 3 for RGB, 1 for grey (the file's own luminance).
        short_side: When given, the picture may come back smaller, by the factors that libjpeg reaches for nothing, but never
            with a side shorter than this.
        out: Where the pixels go, C-contiguous, of the picture's full size.

    Raises:
        ValueError: The file is damaged in any way that libjpeg notices, cut files included.
    """
    least = short_side or 0
    return simplejpeg.decode_jpeg(
        data,
        colorspace="RGB" if channels == 3 else "GRAY",
        min_height=least,
        min_width=least,
        min_factor=2 if least else 1,
        buffer=out,
    )
