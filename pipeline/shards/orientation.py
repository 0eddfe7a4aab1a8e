"""Which way up a picture is: what its file says about it, and turning it."""

import numpy as np
from numpy.typing import NDArray

_ORIENTATION = 0x0112


def tiff_orientation(tiff: memoryview) -> int:
    """How the camera was held, 1 (upright) to 8, from a block of EXIF; 1 where that does not tell.

    Args:
        tiff: The block, from its byte-order mark on.
    """
    # EXIF is a TIFF header and a table of 12-byte entries. Read here and not by Pillow, which warns of the many cameras'
    # tables that are damaged elsewhere; a damaged table must not cost the picture.
    mark = bytes(tiff[:2])
    if mark not in (b"II", b"MM"):
        return 1
    order = "little" if mark == b"II" else "big"
    table = int.from_bytes(tiff[4:8], order)
    for number in range(int.from_bytes(tiff[table : table + 2], order)):
        entry = tiff[table + 2 + 12 * number : table + 14 + 12 * number]
        if len(entry) < 12:
            break
        if int.from_bytes(entry[:2], order) == _ORIENTATION:
            value = int.from_bytes(entry[8:10], order)
            return value if 1 <= value <= 8 else 1
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


def as_stored(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The picture as it lies in its file, a view: `upright` the other way.

    Args:
        pixels: uint8 [H, W, C], upright.
        orientation: EXIF orientation, 1 to 8.
    """
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
