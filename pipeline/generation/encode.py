"""Pixels to image files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Returns one image as a PNG file; the same pixels give the same bytes.

    Args:
        pixels: uint8 [H, W, C], C being 1 (grey) or 3 (RGB).
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
