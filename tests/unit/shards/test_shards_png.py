"""The fast PNG decoder takes the kinds it knows and leaves every other, and every fault, to Pillow."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from pipeline.errors import CorruptDataError
from pipeline.shards import decode_image
from pipeline.shards.png import decode_png, png_header


def encoded(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def with_chunk(data: bytes, kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    """A PNG with one more chunk after its header."""
    number = zlib.crc32(kind + body) if crc is None else crc
    return data[:33] + struct.pack(">I", len(body)) + kind + body + struct.pack(">I", number) + data[33:]


@settings(deadline=None, max_examples=60)
@given(height=st.integers(1, 70), width=st.integers(1, 70), channels=st.sampled_from([1, 3]), level=st.integers(0, 9))
def test_pixels_are_those_that_went_in(height: int, width: int, channels: int, level: int) -> None:
    pixels = noise(height, width, channels, seed=height * width)
    data = encoded(pixels[:, :, 0] if channels == 1 else pixels, compress_level=level)
    assert png_header(data) == (height, width, channels, 1)
    fast = decode_png(data, height, width, channels)
    assert fast is not None
    assert np.array_equal(fast, pixels)
    assert np.array_equal(decode_image(data, channels=channels), pixels)
    assert np.array_equal(decode_image(data, channels=3), np.broadcast_to(pixels, (height, width, 3)))


def test_text_and_gamma_are_passed_over() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "IDAT tRNS " * 50)
    data = with_chunk(encoded(noise(9, 7, 3), pnginfo=info), b"gAMA", struct.pack(">I", 45455))
    assert png_header(data) == (9, 7, 3, 1)
    assert np.array_equal(decode_image(data, channels=3), noise(9, 7, 3))


@pytest.mark.parametrize(
    "data",
    [
        encoded(noise(8, 8, 4)),
        encoded(noise(8, 8, 2)),
        encoded(noise(8, 8).astype(np.uint16) * 257),
        with_chunk(encoded(noise(8, 8, 3)), b"tRNS", struct.pack(">HHH", 1, 2, 3)),
        with_chunk(encoded(noise(8, 8, 3)), b"eXIf", b"II*\0\x08\0\0\0\0\0"),
        b"",
        b"\x89PNG",
        b"\xff\xd8\xff",
        encoded(noise(8, 8, 3))[:40],
    ],
    ids=["alpha", "grey alpha", "16 bit", "transparent color", "EXIF", "nothing", "magic", "JPEG", "cut"],
)
def test_other_kinds_are_left_to_pillow(data: bytes) -> None:
    assert png_header(data) is None


def test_a_transparent_color_shows_white() -> None:
    pixels = noise(8, 8, 3)
    pixels[2, 3] = (1, 2, 3)
    shown = decode_image(with_chunk(encoded(pixels), b"tRNS", struct.pack(">HHH", 1, 2, 3)), channels=3)
    assert shown[2, 3].tolist() == [255, 255, 255]
    assert np.array_equal(shown[4:], pixels[4:])


def test_a_file_without_its_end_marker_is_judged_by_pillow() -> None:
    data = encoded(noise(8, 8, 3))[:-12]
    assert png_header(data) is None
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image)
    assert np.array_equal(decode_image(data, channels=3), expected)


def test_a_wrong_checksum_of_a_chunk_that_nobody_needs_costs_no_picture() -> None:
    pixels = noise(8, 8, 3)
    assert np.array_equal(decode_image(with_chunk(encoded(pixels), b"teSt", b"hello", crc=1), channels=3), pixels)


@settings(deadline=None, max_examples=80)
@given(at=st.integers(33, 400), bit=st.integers(0, 7))
def test_a_changed_bit_never_gives_other_pixels_unnoticed(at: int, bit: int) -> None:
    pixels = noise(20, 20)
    data = bytearray(encoded(pixels))
    data[at % len(data)] ^= 1 << bit
    try:
        found = decode_image(bytes(data), channels=1)
    except CorruptDataError:
        return
    assert np.array_equal(found[:, :, 0], pixels)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
def test_no_bit_that_changed_at_the_end_of_the_pixels_gives_others(mode: str) -> None:
    """Decoders that stop at the last row do not come to the checksum behind it, and Pillow looks at no other."""
    ramp = np.add.outer(np.arange(64), np.arange(64) % 7)
    image = (
        Image.fromarray((ramp * 300).astype(np.uint16))
        if mode == "I;16"
        else Image.fromarray(ramp.astype(np.uint8)).convert(mode)
    )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = buffer.getvalue()
    expected = decode_image(data, channels=3)
    for at in range(max(33, len(data) - 150), len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with contextlib.suppress(CorruptDataError):
                assert np.array_equal(decode_image(changed, channels=3), expected)


def test_a_png_cut_behind_its_last_pixel_is_whole() -> None:
    ramp = np.add.outer(np.arange(64), np.arange(64) % 7).astype(np.uint8)
    data = encoded(ramp)
    for missing in range(1, 21):  # the end chunk (12 bytes), and the checksums of the pixels before it (4 and 4)
        assert np.array_equal(decode_image(data[:-missing], channels=1)[:, :, 0], ramp)
    for missing in range(30, len(data), 7):
        with pytest.raises(CorruptDataError):
            decode_image(data[:-missing], channels=1)
