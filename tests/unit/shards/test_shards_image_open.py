"""What is opened at all: the limit on size, lowered and raised, and AVIF whose EXIF is damaged."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import CorruptDataError
from pipeline.shards import decode_image, image_open

GREY = Image.fromarray(np.arange(64 * 48, dtype=np.uint32).astype(np.uint8).reshape(48, 64))


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("P", "PNG"), ("L", "WEBP")]
)
def test_the_limit_is_the_one_that_is_given(mode: str, kind: str) -> None:
    data = _file(GREY.convert(mode), kind)
    assert decode_image(data, channels=3, size=16, max_pixels=64 * 48).shape == (16, 16, 3)
    with pytest.raises(CorruptDataError, match="image of 64x48 pixels, at most 3071 are decoded"):
        decode_image(data, channels=3, size=16, max_pixels=64 * 48 - 1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG2000"])
def test_a_raised_limit_raises_pillows_too(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    data = _file(GREY.convert("P") if kind == "PNG" else GREY, kind)
    monkeypatch.setattr(image_open, "MAX_PIXELS", 1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(CorruptDataError, match="larger than 1000 pixels"):
        decode_image(data, channels=1, max_pixels=1000)
    assert decode_image(data, channels=1, max_pixels=5000).shape == (48, 64, 1)


@pytest.mark.parametrize("turned", [1, 6])
@pytest.mark.parametrize("damage", [b"garbage!", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff\x01\x12"])
def test_damaged_exif_does_not_cost_an_avif_picture_nor_its_turn(damage: bytes, turned: int) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif[0x0112] = turned
    data = _file(GREY.convert("RGB"), "AVIF", exif=exif)
    at = data.rindex(b"MM\0*", 0, data.index(b"a camera"))
    damaged = data[:at] + damage + data[at + len(damage) :]
    expected = decode_image(data, channels=3)
    assert expected.shape == ((64, 48, 3) if turned == 6 else (48, 64, 3))
    np.testing.assert_array_equal(decode_image(damaged, channels=3), expected)


def test_an_avif_that_is_cut_is_refused_with_and_without_exif() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    for options in ({}, {"exif": exif}):
        data = _file(GREY.convert("RGB"), "AVIF", **options)
        with pytest.raises(CorruptDataError):
            decode_image(data[: len(data) // 2], channels=3)
