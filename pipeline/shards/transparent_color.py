"""The one color of a PNG that is transparent: found among the samples as stored, which Pillow does not do at every depth.

Pillow keeps the color as it stands in the file, but shows samples of 2 and 4 bits widened to 8, and of 16-bit RGB the upper 8
bits, so that the two are never equal; or equal where they should not be.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

# How many values a sample has, and what Pillow multiplies it by.
_WIDENED = {"L;2": (4, 85), "L;4": (16, 17)}


def load_pixels(image: Image.Image, data: bytes | memoryview) -> None:
    """Loads the pixels; afterwards Pillow finds the transparent color of a PNG (in 16-bit grey, it is equal to samples anyhow).

    Args:
        image: Just opened.
        data: The file.

    Raises:
        Exception: Whatever Pillow raises at damage.
    """
    color = image.info.get("transparency")
    stored = image.tile[0].args if color is not None and isinstance(image, PngImageFile) and image.tile else None
    if stored in _WIDENED and isinstance(color, int):
        values, factor = _WIDENED[stored]
        image.info["transparency"] = color % values * factor
    image.load()
    if stored == "RGB;16B" and isinstance(color, tuple):
        hidden = _where(image, data, color)
        image.putalpha(Image.fromarray(np.where(hidden, np.uint8(0), np.uint8(255))))
        del image.info["transparency"]


def _where(image: Image.Image, data: bytes | memoryview, color: tuple[int, ...]) -> NDArray[np.bool_]:
    # The lower bytes come from reading the file once more, as if the bytes of its samples were the other way round.
    lower = Image.open(io.BytesIO(data), formats=("PNG",))
    lower.tile = [lower.tile[0]._replace(args="RGB;16L")]
    hidden = np.ones((image.height, image.width), bool)
    for band, value in enumerate(color):
        hidden &= np.asarray(image.getchannel(band)) == value >> 8
        hidden &= np.asarray(lower.getchannel(band)) == value & 0xFF
    return hidden
