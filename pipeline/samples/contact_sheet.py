"""One picture that shows what is in a set: its first samples side by side."""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.samples.reading import samples_of
from pipeline.samples.schema import raw_shape

SHEET_NAME = "contact-sheet.png"
_COLUMNS, _ROWS = 10, 4
_WIDEST = 128  # pixels of one picture
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_BYTES = 12  # of length, type and CRC
_ROUNDING = 2.0  # of 255: other versions of the libraries decode JPEG files and scale pictures down a little otherwise


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


def is_whole_png(data: bytes) -> bool:
    """Whether a file is a PNG to its last byte: every chunk has the CRC that it carries, and nothing comes after the last."""
    place, kind = len(_PNG_SIGNATURE), b""
    if not data.startswith(_PNG_SIGNATURE):
        return False
    while kind != b"IEND" and place + _CHUNK_BYTES <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + _CHUNK_BYTES + length
        if end > len(data) or zlib.crc32(data[place + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            return False
        place, kind = end, data[place + 4 : place + 8]
    return kind == b"IEND" and place == len(data)


def show_the_same(sheet: bytes, other: bytes) -> bool:
    """Whether two contact sheets are of the same pictures; other versions of the libraries write other bytes."""
    if sheet == other:
        return True
    try:
        one, two = (Image.open(io.BytesIO(data)) for data in (sheet, other))
        if (one.mode, one.size) != (two.mode, two.size):
            return False
        difference = np.asarray(one, np.float32) - np.asarray(two, np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return float(np.abs(difference).mean()) <= _ROUNDING


def _opened(data: bytes, shape: tuple[int, int, int] | None) -> Image.Image:
    if shape is None:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    else:
        pixels = np.frombuffer(data, np.uint8).reshape(shape)
        picture = Image.fromarray(pixels[:, :, 0] if shape[2] == 1 else pixels)
    picture.thumbnail((_WIDEST, _WIDEST))
    return picture
