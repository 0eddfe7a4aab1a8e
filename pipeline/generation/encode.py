"""Pixels to image files; the same pixels and options give the same bytes."""

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import ConfigError

EncodedFormat = Literal["png", "jpeg", "webp"]
ImageFormat = EncodedFormat | Literal["raw"]
EXTENSIONS: dict[ImageFormat, str] = {"png": "png", "jpeg": "jpg", "webp": "webp", "raw": "raw"}
DEFAULT_JPEG_QUALITY = 95
# Levels above 1 take 1.7 times as long for files 5% smaller (photographs, 64x64).
_PNG_LEVEL = 1


def encoder(image_format: EncodedFormat, quality: int | None = None) -> Callable[[NDArray[np.uint8]], bytes]:
    """Returns a function from one image, uint8 [H, W, C] with C being 1 (grey) or 3 (RGB), to a file's bytes.

    Args:
        image_format: png; jpeg; webp, lossless unless there is a quality. Raw pixels are not encoded.
        quality: 1 to 100, for jpeg (95 unless given) and webp.

    Raises:
        ConfigError: A quality that the format does not have, or out of range.
    """
    check_quality(image_format, quality)
    match image_format:
        case "png":
            return encode_png
        case "jpeg":
            return lambda pixels: _jpeg(pixels, quality or DEFAULT_JPEG_QUALITY)
        case "webp" if quality is None:
            return lambda pixels: _pillow(pixels, "WEBP", lossless=True, quality=0, method=0)
        case "webp":
            return lambda pixels: _pillow(pixels, "WEBP", quality=quality)


def check_quality(image_format: ImageFormat, quality: int | None) -> None:
    """Nothing if the format has such a quality.

    Raises:
        ConfigError: It has not.
    """
    if quality is not None and image_format not in ("jpeg", "webp"):
        raise ConfigError(f"quality: got {quality} for {image_format}, which has none; expected jpeg or webp")
    if quality is not None and not 1 <= quality <= 100:
        raise ConfigError(f"quality: got {quality}, expected 1 to 100")


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Returns one image as a PNG file.

    Args:
        pixels: uint8 [H, W, C], C being 1 (grey) or 3 (RGB).
    """
    return _pillow(pixels, "PNG", compress_level=_PNG_LEVEL)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    grey = pixels.shape[2] == 1
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "GRAY" if grey else "RGB", "Gray" if grey else "444")


def _pillow(pixels: NDArray[np.uint8], name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, name, **options)
    return buffer.getvalue()
