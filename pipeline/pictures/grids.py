"""Images side by side."""

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, GAP = 255, 0, 2
_LABEL_WIDTH, _FONT_SIZE = 150, 16


def image_grid(images: NDArray[np.uint8], columns: int, scale: int = 1) -> bytes:
    """Returns images laid out row by row, as PNG bytes.

    Args:
        images: uint8 [N, H, W, C], C being 1 or 3.
        columns: Images a row.
        scale: Every pixel becomes scale x scale pixels.
    """
    return _png(Image.fromarray(_tiled(images, columns, scale)))


def labelled_strips(strips: Mapping[str, NDArray[np.uint8]], scale: int = 1) -> bytes:
    """Returns rows of images, each with its name on the left, as PNG bytes.

    Args:
        strips: uint8 [N, H, W, C] by name, from top to bottom.
        scale: Every pixel becomes scale x scale pixels.
    """
    rows = [_tiled(images, len(images), scale) for images in strips.values()]
    width = _LABEL_WIDTH + max(row.shape[1] for row in rows)
    page = Image.new("RGB", (width, sum(row.shape[0] for row in rows)), (PAPER, PAPER, PAPER))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE)
    top = 0
    for name, row in zip(strips, rows, strict=True):
        page.paste(Image.fromarray(row), (_LABEL_WIDTH, top))
        draw.text((8, top + row.shape[0] // 2), name, fill=(INK, INK, INK), font=font, anchor="lm")
        top += row.shape[0]
    return _png(page)


def _tiled(images: NDArray[np.uint8], columns: int, scale: int) -> NDArray[np.uint8]:
    """The images on white paper, uint8 [rows, columns, 3]."""
    rgb = np.broadcast_to(images, (*images.shape[:3], 3)) if images.shape[3] == 1 else images
    large = rgb.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = large.shape
    rows = -(-count // columns)
    page = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, np.uint8)
    for i in range(count):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        page[top : top + height, left : left + width] = large[i]
    return page


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
