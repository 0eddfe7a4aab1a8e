"""From a picture of any size to a square of the size that is trained on: which part, how scaled, mirrored or not."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Cut(NamedTuple):
    """A square part of a picture, in shares of what there is, so that it can be chosen before the picture is known."""

    side: float = 1.0
    """Side of the square as a share of the picture's short side, in (0, 1]."""
    top: float = 0.5
    """How far down the square lies: 0 at the upper border, 1 at the lower one."""
    left: float = 0.5
    """How far to the right: 0 at the left border, 1 at the right one."""
    mirror: bool = False
    """Whether left and right change places."""


CENTER = Cut()
"""The largest square, from the middle."""


def short_side_needed(size: int, cut: Cut) -> int:
    """The short side, in pixels, that a picture must have for a cut of it to be at least `size` wide."""
    return math.ceil(size / cut.side)


def cut_square(pixels: NDArray[np.uint8], size: int, cut: Cut) -> NDArray[np.uint8]:
    """uint8 [size, size, C]: the part of a picture that `cut` names; not resampled where it has that size already.

    Args:
        pixels: uint8 [H, W, C], C 1 or 3.
        size: Height and width of the result, in pixels.
        cut: Which part.
    """
    height, width = pixels.shape[:2]
    side = min(height, width) * cut.side
    top, left = (height - side) * cut.top, (width - side) * cut.left
    if side == size:
        row, column = math.floor(top), math.floor(left)
        square = pixels[row : row + size, column : column + size]
    else:
        # One resampling step straight from the part: nothing outside it is computed.
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
        box = (left, top, min(left + side, width), min(top + side, height))
        square = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=box)).reshape(size, size, -1)
    return square[:, ::-1] if cut.mirror else square
