"""Image bytes to pixels: every format, one result, and a named error for everything that is no sound image.

What the bytes are decides, never the file's name. Nothing is ever unpickled, and formats whose decoders run programs (EPS)
are not opened.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import CorruptDataError
from pipeline.shards.geometry import CENTER, Cut, cut_square, short_side_needed
from pipeline.shards.image_open import MAX_PIXELS, check_pixels, open_image
from pipeline.shards.jpeg import decode_jpeg, is_jpeg, jpeg_header, jpeg_size
from pipeline.shards.orientation import as_stored, exif_of_text, stated_orientation, upright
from pipeline.shards.png import check_pixel_chunks, decode_png, png_header
from pipeline.shards.transparent_color import load_pixels

DECODING_BYTES_PER_PIXEL = 28
"""What decoding takes at most, measured: JPEG 2000 22 and 28, WebP 16, all others 7 to 12, and next to nothing where a JPEG is
shown much smaller than it is."""

BACKGROUND = 255
"""Transparent pixels show white: black drawings on nothing, the common case, stay visible."""

# libjpeg's strict mode also refuses what it only remarks on, which every reader passes over and which costs no pixel.
_REMARKS = ("extraneous bytes before marker", "unknown JFIF revision", "Unknown Adobe color transform")
_BAND_PIXELS = 1 << 20
# Pillow looks into EXIF on opening. Many cameras' tables are damaged somewhere, and a line about each would drown a log.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)


def decode_image(
    data: bytes | memoryview,
    *,
    channels: int,
    size: int | None = None,
    cut: Cut = CENTER,
    max_pixels: int = MAX_PIXELS,
    out: NDArray[np.uint8] | None = None,
    uri: str = "<bytes>",
    offset: int | None = None,
) -> NDArray[np.uint8]:
    """Pixels, uint8 [H, W, channels], C-contiguous; [size, size, channels] when `size` is given.

    Turned as EXIF says, or XMP where EXIF does not. Palettes are looked up, transparency is laid on white, 16 bits become the
    upper 8, of an animation the first frame is taken; grey becomes RGB by repetition, RGB becomes grey by ITU-R 601 luminance.

    Args:
        data: The image file's bytes.
        channels: 3 for RGB, 1 for grey.
        size: When given, a square is cut out and scaled to this many pixels a side (Lanczos), where it has another size.
        cut: Which square; the largest from the middle where nothing is said. Used with `size` only.
        max_pixels: Largest image decoded, width times height as stored.
        out: uint8 [size, size, channels], where the result is put and returned; with `size` only.
        uri: Where the bytes come from, for error messages.
        offset: Byte position there.

    Raises:
        CorruptDataError: No bytes, no image, a format that is not opened, a cut or damaged file, or more than `max_pixels`.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}, expected 1 or 3")
    view = memoryview(data)
    if not view:
        raise CorruptDataError("image has 0 bytes", uri, offset)
    least = None if size is None else short_side_needed(size, cut)
    # A JPEG of the very size is decoded in place.
    into = out if cut == CENTER else None
    if is_jpeg(view):
        pixels = _decode_jpeg(view, channels, least, into, max_pixels, uri, offset)
    else:
        pixels = _decode_png(view, channels, max_pixels)
    if pixels is None:
        pixels = _pixels(open_image(view, max_pixels, uri, offset), view, channels, least, uri, offset)
    if size is not None and pixels is not out and (cut != CENTER or pixels.shape[:2] != (size, size)):
        pixels = cut_square(pixels, size, cut)
    if out is None:
        return np.ascontiguousarray(pixels)
    if pixels is not out:
        out[...] = pixels
    return out


def image_format(data: bytes | memoryview, *, uri: str = "<bytes>", offset: int | None = None) -> tuple[str, int]:
    """(format, channels): Pillow's name of the format, and 1 for grey or 3 for color, from the header alone.

    Args:
        data: The image file's bytes.
        uri: Where the bytes come from, for error messages.
        offset: Byte position there.

    Raises:
        CorruptDataError: As `decode_image`, as far as the header tells.
    """
    image = open_image(memoryview(data), MAX_PIXELS, uri, offset)
    grey = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
    return image.format or "", 1 if grey else 3


def _decode_jpeg(
    view: memoryview,
    channels: int,
    least: int | None,
    out: NDArray[np.uint8] | None,
    max_pixels: int,
    uri: str,
    offset: int | None,
) -> NDArray[np.uint8] | None:
    # None when the file is for Pillow: CMYK, or libjpeg has a remark on it. Pillow still refuses what is cut.
    try:
        height, width, components, orientation = jpeg_header(view)
        if not height or components not in (1, 3):
            height, width, color_space = jpeg_size(view)
            components = 3 if color_space in ("Gray", "YCbCr", "RGB") else 4
        check_pixels(width, height, max_pixels, uri, offset)
        if components == 4:
            return None
        if out is not None and orientation == 1 and out.shape[:2] == (height, width) and out.flags.c_contiguous:
            decode_jpeg(view, channels, None, out)
            return out
        return upright(decode_jpeg(view, channels, least), orientation)
    except (ValueError, KeyError) as error:  # simplejpeg looks up the coding that a damaged header claims
        if any(remark in str(error) for remark in _REMARKS):
            return None
        raise CorruptDataError(f"damaged JPEG: {error}", uri, offset) from None


def _decode_png(view: memoryview, channels: int, max_pixels: int) -> NDArray[np.uint8] | None:
    # None when the bytes are for Pillow: no PNG, another kind of PNG, one too large, damaged, or color that becomes grey.
    data = bytes(view)
    found = png_header(data)
    if found is None or found[0] * found[1] > max_pixels or found[2] > channels:
        return None
    height, width, stored, orientation = found
    pixels = decode_png(data, height, width, stored)
    if pixels is None:
        return None
    pixels = upright(pixels, orientation)
    return pixels if stored == channels else np.repeat(pixels, channels, axis=2)


def _pixels(
    image: Image.Image, view: memoryview, channels: int, least: int | None, uri: str, offset: int | None
) -> NDArray[np.uint8]:
    """uint8 [H, W, channels], upright. Full-size pictures in memory are the decoded one and the result, and no others."""
    try:
        if image.format == "PNG":
            check_pixel_chunks(view)
        if least is not None:
            image.draft(None, (least, least))  # a JPEG comes back smaller, as from `decode_jpeg`
        load_pixels(image, view)
        if image.mode == "F":
            raise ValueError("floating-point pixels have no agreed range")
        orientation = _orientation(image)
        width, height = image.size
        pixels = np.empty((width, height, channels) if orientation >= 5 else (height, width, channels), np.uint8)
        stored = as_stored(pixels, orientation)
        rows = max(1, _BAND_PIXELS // width)
        for top in range(0, height, rows):
            band = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
            stored[top : top + rows] = _plain(band, channels)
    except MemoryError:
        raise
    except Exception as error:  # as in open_image: decoders of damaged bytes raise anything
        raise CorruptDataError(f"damaged {image.format}: {error}", uri, offset) from error
    return pixels


def _plain(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """uint8 [H, W, channels] of 8 bits and nothing transparent."""
    if image.mode.startswith("I"):
        image = _upper_byte(image)
    if image.has_transparency_data:
        alpha = image.convert("RGBA")
        image = Image.new("RGBA", alpha.size, (BACKGROUND,) * 3 + (255,))
        image.alpha_composite(alpha)
    return np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(image.height, image.width, channels)


def _orientation(image: Image.Image) -> int:
    # Pillow's own answer, `getexif`, stumbles over damaged tables and warns of them; our readers do neither.
    if image.format == "TIFF":
        return 1  # Pillow turns it on loading
    exif, text = image.info.get("exif"), image.info.get("Raw profile type exif")
    if not isinstance(exif, bytes):
        exif = exif_of_text(text.encode()) if isinstance(text, str) else b""
    xmp = image.info.get("XML:com.adobe.xmp")
    xmp = xmp.encode() if xmp and isinstance(xmp, str) else image.info.get("xmp")
    return stated_orientation(exif, xmp if isinstance(xmp, bytes) else b"")


def _upper_byte(image: Image.Image) -> Image.Image:
    # 16-bit grey comes as "I;16" in some byte order, or as 32-bit "I" with values that fit 16 bits.
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"grey values from {values.min()} to {values.max()}, expected 0 to 65535")
    upper = (values >> 8).astype(np.uint8)
    if isinstance(transparent := image.info.get("transparency"), int):
        upper[values == transparent] = BACKGROUND
    return Image.fromarray(upper)
