"""JPEG by libjpeg-turbo, the decoder of nearly every large image data set and the fastest there is for it."""

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

_ORIENTATION = 0x0112
_SCAN = 0xDA
_APP1 = 0xE1


def is_jpeg(data: memoryview) -> bool:
    """Whether the bytes begin as a JPEG does, whatever the file was called."""
    return bytes(data[:3]) == b"\xff\xd8\xff"


def jpeg_size(data: memoryview) -> tuple[int, int, str]:
    """(height, width, color space) as stored, before any EXIF turn; the color space is `Gray`, `YCbCr`, `CMYK`, ...

    Raises:
        ValueError: The header cannot be read.
    """
    height, width, color_space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    return height, width, color_space


def decode_jpeg(data: memoryview, channels: int, short_side: int | None) -> NDArray[np.uint8]:
    """uint8 [H, W, channels], as stored, before any EXIF turn.

    Args:
        data: The file; not CMYK.
        channels: 3 for RGB, 1 for grey (the file's own luminance).
        short_side: When given, the picture may come back smaller, by the factors that libjpeg reaches for nothing, but never
            with a side shorter than this.

    Raises:
        ValueError: The file is damaged in any way that libjpeg notices, cut files included.
    """
    least = short_side or 0
    return simplejpeg.decode_jpeg(
        data, colorspace="RGB" if channels == 3 else "GRAY", min_height=least, min_width=least, min_factor=2 if least else 1
    )


def exif_orientation(data: memoryview) -> int:
    """How the camera was held, 1 (upright) to 8, from a JPEG's EXIF block; 1 where there is none.

    Args:
        data: A JPEG file.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == _SCAN:
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _APP1 and bytes(data[at + 4 : at + 10]) == b"Exif\0\0":
            exif = Image.Exif()
            exif.load(bytes(data[at + 4 : at + 2 + length]))
            found = exif.get(_ORIENTATION, 1)
            return found if isinstance(found, int) and 1 <= found <= 8 else 1
        at += 2 + length
    return 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The picture as the photographer saw it: uint8 [H, W, C], a view where possible.

    Args:
        pixels: uint8 [H, W, C].
        orientation: EXIF orientation, 1 to 8.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)  # 5 is the bare transpose; 6, 7 and 8 flip its result
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
