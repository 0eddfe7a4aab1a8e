"""Opening an image that is Pillow's to decode: known formats only, a size that is allowed, EXIF and XMP cost no picture."""

import io
import re

from PIL import Image

from pipeline.errors import CorruptDataError

MAX_PIXELS = 89_478_485
"""Largest image decoded where nothing else is said (a quarter GiB of RGB): a small file that claims more is taken for a
decompression bomb."""

FORMATS = ("PNG", "JPEG", "WEBP", "PPM", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000")
"""Formats that are opened, by Pillow's names."""

# What says that an item of an AVIF file is EXIF: the kind of box, version and flags, the item's number, protection, its type.
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03].{7,9})Exif", re.DOTALL)


def open_image(view: memoryview, max_pixels: int, uri: str, offset: int | None) -> Image.Image:
    """The image, its header read.

    Args:
        view: The file's bytes.
        max_pixels: Largest image allowed, width times height.
        uri: Where the bytes come from, for error messages.
        offset: Byte position there.

    Raises:
        CorruptDataError: No bytes, no image, a format not in `FORMATS`, a damaged header, or more than `max_pixels`.
    """
    if not view:
        raise CorruptDataError("image has 0 bytes", uri, offset)
    if max_pixels > MAX_PIXELS and (Image.MAX_IMAGE_PIXELS or max_pixels) < max_pixels:
        Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's own limit, of the whole process: raised only by those who ask for it
    try:
        image = _opened(view)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CorruptDataError(f"image is larger than {max_pixels} pixels: {error}", uri, offset) from None
    except Image.UnidentifiedImageError:
        start = bytes(view[:8])
        raise CorruptDataError(f"not an image: {len(view)} bytes that begin {start!r}", uri, offset) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever the damage makes them stumble over
        raise CorruptDataError(f"damaged image: {error}", uri, offset) from error
    check_pixels(image.width, image.height, max_pixels, uri, offset)
    if not isinstance(image.info.get("xmp", b""), bytes):
        del image.info["xmp"]  # written as text or numbers: Pillow would stumble over it when it turns a TIFF
    return image


def check_pixels(width: int, height: int, max_pixels: int, uri: str, offset: int | None) -> None:
    """Raises where an image is too large to be decoded.

    Raises:
        CorruptDataError: It has more than `max_pixels`.
    """
    if width * height > max_pixels:
        raise CorruptDataError(f"image of {width}x{height} pixels, at most {max_pixels} are decoded", uri, offset)


def _opened(view: memoryview) -> Image.Image:
    try:
        return Image.open(io.BytesIO(view), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise
    except Exception:
        # Damaged EXIF keeps Pillow from opening an AVIF file. Which way up it is stands elsewhere in the file, so the picture
        # loses nothing when the damaged item is called something that nobody reads.
        without = _EXIF_ITEM.sub(rb"\1none", bytes(view)) if view[4:8] == b"ftyp" else b""
        if without == bytes(view) or not without:
            raise
        return Image.open(io.BytesIO(without), formats=FORMATS)
