"""One picture that shows what is in a set: its first samples side by side."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.samples.reading import samples_of
from pipeline.samples.schema import raw_shape

SHEET_NAME = "contact-sheet.png"
_COLUMNS, _ROWS = 10, 4
_WIDEST = 128  # pixels of one picture


def contact_sheet(table: pa.Table) -> bytes | None:
    """A PNG file of the first samples of a part, ten to a row; None where they are no images that can be shown.

    Args:
        table: What `decode_part` read.
    """
    shape = raw_shape(table.schema)
    shown = []
    for sample in samples_of(table.slice(0, _COLUMNS * _ROWS)):
        try:
            shown.append(_opened(sample.image, shape))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
    width, height = shown[0].size
    rows = -(-len(shown) // _COLUMNS)
    sheet = Image.new(shown[0].mode, (width * min(len(shown), _COLUMNS), height * rows))
    for place, picture in enumerate(shown):
        sheet.paste(picture, (place % _COLUMNS * width, place // _COLUMNS * height))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _opened(data: bytes, shape: tuple[int, int, int] | None) -> Image.Image:
    if shape is None:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    else:
        pixels = np.frombuffer(data, np.uint8).reshape(shape)
        picture = Image.fromarray(pixels[:, :, 0] if shape[2] == 1 else pixels)
    picture.thumbnail((_WIDEST, _WIDEST))
    return picture
