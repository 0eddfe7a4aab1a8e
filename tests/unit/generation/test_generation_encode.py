"""Every image format: an independent decoder gets the pixels back, or close to them, and equal pixels give equal bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.generation import ImageFormat, encoder
from pipeline.generation.encode import EncodedFormat, check_quality


def picture(channels: int) -> np.ndarray:
    y, x = np.mgrid[0:24, 0:32]
    planes = [x * 8, y * 10, 255 - x * 4 - y * 2][:channels]
    return np.stack(planes, -1).astype(np.uint8)


def decoded(data: bytes, channels: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(24, 32, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("image_format", "quality", "name", "error"),
    [
        ("png", None, "PNG", 0),
        ("jpeg", None, "JPEG", 6),
        ("jpeg", 60, "JPEG", 24),
        ("webp", None, "WEBP", 0),
        ("webp", 90, "WEBP", 24),
    ],
)
def test_pictures_come_back(image_format: EncodedFormat, quality: int | None, name: str, error: int, channels: int) -> None:
    pixels = picture(channels)
    data = encoder(image_format, quality)(pixels)
    assert data == encoder(image_format, quality)(pixels.copy())
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == name
    assert np.abs(decoded(data, channels).astype(int) - pixels).max() <= error


def test_a_lower_quality_makes_smaller_files() -> None:
    sizes = [len(encoder("jpeg", quality)(picture(3))) for quality in (30, 60, 90, None)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


@pytest.mark.parametrize(("image_format", "quality"), [("png", 90), ("raw", 90), ("jpeg", 0), ("webp", 101)])
def test_a_quality_that_is_none_is_refused(image_format: ImageFormat, quality: int) -> None:
    with pytest.raises(ConfigError, match="quality"):
        check_quality(image_format, quality)
