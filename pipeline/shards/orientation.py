"""Which way up a picture is: what its file says about it, and turning it.

EXIF says it, or XMP where EXIF does not: the rules are those of Pillow's `exif_transpose`, whoever decodes the picture.
"""

import re

import numpy as np
from numpy.typing import NDArray

_ORIENTATION = 0x0112
_LONG = 4
# Before the block itself; some write it twice.
_EXIF_MARKS = re.compile(rb"(?:Exif\0\0){0,2}")
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def stated_orientation(exif: bytes | memoryview, xmp: bytes | memoryview) -> int:
    """How the camera was held, 1 (upright) to 8: by EXIF if that tells, else by XMP, else 1.

    Args:
        exif: A block of EXIF, with or without its mark; empty where there is none.
        xmp: A packet of XMP; empty where there is none.
    """
    return tiff_orientation(memoryview(exif)) or xmp_orientation(xmp) or 1


def xmp_orientation(xmp: bytes | memoryview) -> int:
    """How the camera was held, 1 (upright) to 8, from a packet of XMP; 0 where that does not tell.

    Args:
        xmp: The packet. It is searched and not parsed: most of a damaged one still tells.
    """
    found = _IN_XMP.search(xmp)
    return _valid(int(found[1])) if found else 0


def exif_of_text(text: bytes) -> bytes:
    """The block of EXIF that ImageMagick writes as text into a PNG; empty where it is damaged.

    Args:
        text: An empty line, a name, a length, and lines of hexadecimal digits.
    """
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def tiff_orientation(tiff: memoryview) -> int:
    """How the camera was held, 1 (upright) to 8, from a block of EXIF; 0 where that does not tell.

    Args:
        tiff: The block, from its byte-order mark on, or from the mark of EXIF before that.
    """
    # EXIF is a TIFF header and a table of 12-byte entries. Read here and not by Pillow, which warns of the many cameras'
    # tables that are damaged elsewhere; a damaged table must not cost the picture.
    mark = bytes(tiff[:2])
    if mark == b"Ex" and (marks := _EXIF_MARKS.match(tiff)):
        tiff = tiff[marks.end() :]
        mark = bytes(tiff[:2])
    if mark not in (b"II", b"MM"):
        return 0
    order = "little" if mark == b"II" else "big"
    table = int.from_bytes(tiff[4:8], order)
    for number in range(int.from_bytes(tiff[table : table + 2], order)):
        entry = tiff[table + 2 + 12 * number : table + 14 + 12 * number]
        if len(entry) < 12:
            break
        if int.from_bytes(entry[:2], order) == _ORIENTATION:
            value = int.from_bytes(entry[8:10], order)
            if not value and int.from_bytes(entry[2:4], order) == _LONG:  # 16 bits are the rule, 32 are met
                value = int.from_bytes(entry[8:12], order)
            return _valid(value)
    return 0


def _valid(orientation: int) -> int:
    # A number that means nothing is an answer all the same: nothing else is asked, and nothing is turned.
    return orientation if 1 <= orientation <= 8 else 1


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


def as_stored(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The picture as it lies in its file, a view: `upright` the other way.

    Args:
        pixels: uint8 [H, W, C], upright.
        orientation: EXIF orientation, 1 to 8.
    """
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
