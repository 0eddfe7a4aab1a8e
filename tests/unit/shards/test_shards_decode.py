import io
import pickle
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.errors import CorruptDataError
from pipeline.shards import decode_image, image_format


def _noise(mode: str, size: tuple[int, int] = (13, 9), seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    image = Image.new(mode, size)
    image.frombytes(pixels.tobytes())
    return image


def _photo(size: tuple[int, int] = (64, 48)) -> Image.Image:
    # Smooth, so that JPEG keeps it nearly as it is.
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    pixels = np.stack([x * 255 / size[0], y * 255 / size[1], (x + y) * 255 / sum(size)], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "PPM", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_lossless_formats_give_back_their_pixels(kind: str) -> None:
    image = _noise("RGB", (32, 24))
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(kind, {})
    pixels = decode_image(_file(image, kind, **options), channels=3)
    assert (pixels.dtype, pixels.shape, pixels.flags.c_contiguous) == (np.uint8, (24, 32, 3), True)
    difference = np.abs(pixels.astype(int) - np.asarray(image))
    assert difference.max() <= (4 if kind == "AVIF" else 0)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_grey_stays_grey_and_repeats_into_rgb(kind: str) -> None:
    image = _noise("L")
    data = _file(image, kind)
    np.testing.assert_array_equal(decode_image(data, channels=1)[:, :, 0], np.asarray(image))
    np.testing.assert_array_equal(decode_image(data, channels=3), np.repeat(np.asarray(image)[:, :, None], 3, 2))


def test_color_becomes_grey_by_luminance() -> None:
    image = _noise("RGB")
    np.testing.assert_array_equal(decode_image(_file(image, "PNG"), channels=1)[:, :, 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_as_pillow_decodes_it(mode: str, progressive: bool) -> None:
    data = _file(_photo().convert(mode), "JPEG", progressive=progressive, quality=95)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
        grey = np.asarray(image.convert("L")).astype(int)
    assert np.abs(decode_image(data, channels=3) - expected).max() <= 2
    assert np.abs(decode_image(data, channels=1)[:, :, 0] - grey).max() <= 3


def test_cmyk_jpeg_becomes_rgb() -> None:
    image = _photo()
    data = _file(image.convert("CMYK"), "JPEG", quality=98, subsampling=0)
    assert simplejpeg.decode_jpeg_header(data)[2] == "CMYK"
    assert np.abs(decode_image(data, channels=3).astype(int) - np.asarray(image)).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["II", "MM"])
def test_pictures_are_turned_as_exif_says(orientation: int, kind: str, order: str) -> None:
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif[0x010F] = "a camera"
    exif[0x0112] = orientation
    data = _file(_photo((40, 16)), kind, exif=exif.tobytes(), **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get(0x0112) == orientation
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    pixels = decode_image(data, channels=3)
    assert pixels.shape == ((40, 16, 3) if orientation >= 5 else (16, 40, 3))
    assert np.abs(pixels.astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"junk",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\xff\xff\x01\x12",
        b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x63\0",
    ],
)
def test_damaged_exif_does_not_cost_the_picture(exif: bytes) -> None:
    data = _file(_photo(), "JPEG")
    block = b"Exif\0\0" + exif
    damaged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    np.testing.assert_array_equal(decode_image(damaged, channels=3), decode_image(data, channels=3))


def test_palettes_are_looked_up() -> None:
    image = _noise("RGB", (16, 16)).quantize(32)
    expected = np.asarray(image.convert("RGB"))
    for kind in ("PNG", "GIF", "BMP"):
        np.testing.assert_array_equal(decode_image(_file(image, kind), channels=3), expected)


def test_transparency_is_laid_on_white() -> None:
    image = Image.fromarray(np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8))
    pixels = decode_image(_file(image, "PNG"), channels=3)
    np.testing.assert_array_equal(pixels, [[[10, 20, 30], [255, 255, 255], [127, 127, 127]]])
    grey = Image.fromarray(np.array([[[50, 255], [50, 0]]], np.uint8))
    assert grey.mode == "LA"
    assert decode_image(_file(grey, "PNG"), channels=1).ravel().tolist() == [50, 255]
    palette = _noise("L", (4, 4)).quantize(4)
    data = _file(palette, "PNG", transparency=0)
    hidden = np.asarray(palette) == 0
    assert (decode_image(data, channels=3)[hidden] == 255).all()


def test_sixteen_bits_become_the_upper_eight() -> None:
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16) ^ 0x5A
    expected = (values >> 8).astype(np.uint8)
    for kind in ("PNG", "TIFF", "PPM"):
        data = _file(Image.fromarray(values), kind)
        np.testing.assert_array_equal(decode_image(data, channels=1)[:, :, 0], expected)
        np.testing.assert_array_equal(decode_image(data, channels=3)[:, :, 2], expected)


def test_one_bit_pictures_are_black_and_white() -> None:
    assert set(np.unique(decode_image(_file(_noise("L").convert("1"), "PNG"), channels=1))) == {0, 255}


def test_floating_point_pictures_are_refused() -> None:
    with pytest.raises(CorruptDataError, match="floating-point"):
        decode_image(_file(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), channels=1)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    first, second = _noise("L", seed=1), _noise("L", seed=2)
    data = _file(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(decode_image(data, channels=1)[:, :, 0], np.asarray(first))


@pytest.mark.parametrize("shape", [(24, 24), (24, 31), (50, 24), (25, 24)])
def test_an_image_of_the_right_size_is_cut_and_not_resampled(shape: tuple[int, int]) -> None:
    image = _noise("RGB", shape)
    left, top = (shape[0] - 24) // 2, (shape[1] - 24) // 2
    expected = np.asarray(image.crop((left, top, left + 24, top + 24)))
    np.testing.assert_array_equal(decode_image(_file(image, "PNG"), channels=3, size=24), expected)


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 80), height=st.integers(1, 80), size=st.integers(1, 40), channels=st.sampled_from([1, 3]))
def test_any_size_comes_out_square_with_the_middle_kept(width: int, height: int, size: int, channels: int) -> None:
    pixels = decode_image(_file(Image.new("RGB", (width, height), (200, 100, 50)), "PNG"), channels=channels, size=size)
    assert pixels.shape == (size, size, channels)
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - ([200, 100, 50] if channels == 3 else 124)).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("shape", [(256, 192), (192, 256), (200, 100)])
def test_a_shrunk_picture_looks_like_pillows(kind: str, shape: tuple[int, int]) -> None:
    image = _photo(shape)
    expected = np.asarray(ImageOps.fit(image, (48, 48), Image.Resampling.LANCZOS)).astype(int)
    pixels = decode_image(_file(image, kind), channels=3, size=48)
    assert np.abs(pixels - expected).max() <= 6


def test_a_turned_picture_is_cut_after_turning() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = _file(_photo((96, 32)), "JPEG", exif=exif.tobytes(), quality=95)
    whole = decode_image(data, channels=3)
    np.testing.assert_array_equal(decode_image(data, channels=3, size=32), whole[32:64])


def test_what_the_bytes_are_decides_not_the_name() -> None:
    assert image_format(_file(_photo(), "JPEG")) == ("JPEG", 3)
    assert image_format(_file(_noise("L"), "PNG")) == ("PNG", 1)
    assert image_format(_file(_noise("LA"), "PNG")) == ("PNG", 1)
    assert image_format(_file(_noise("RGB").quantize(4), "GIF"))[1] == 3
    assert image_format(_file(Image.fromarray(np.zeros((2, 2), np.uint16)), "PNG")) == ("PNG", 1)


def test_stray_bytes_before_a_jpegs_end_are_harmless() -> None:
    data = _file(_photo(), "JPEG")
    stray = data[:-2] + bytes(range(1, 60)) + data[-2:]
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(stray)
    assert np.abs(decode_image(stray, channels=3).astype(int) - decode_image(data, channels=3)).max() <= 2


def _png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(_file(_photo(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: b"", "image has 0 bytes"),
        (lambda: b"<html>404 not found</html>", "not an image: 26 bytes that begin b'<html>40'"),
        (lambda: pickle.dumps([1, 2, 3]), "not an image"),
        (lambda: bytes(300), "not an image"),
        (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (lambda: b"\xff\xd8\xff", "damaged JPEG"),
        (lambda: _png_claiming(9000, 9000), "damaged PNG"),
        (lambda: _png_claiming(10_000, 10_000), "pixels"),
        (lambda: _png_claiming(100_000, 100_000), "pixels"),
        (lambda: _jpeg_claiming(65_000, 65_000), "65000x65000 pixels"),
    ],
)
def test_what_is_no_sound_image_is_named(make: Callable[[], bytes], problem: str) -> None:
    with pytest.raises(CorruptDataError, match=problem) as caught:
        decode_image(make(), channels=3, uri="s.tar", offset=512)
    assert (caught.value.uri, caught.value.offset) == ("s.tar", 512)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_a_cut_file_is_refused_wherever_it_is_cut(kind: str) -> None:
    data = _file(_noise("RGB", (40, 40)), kind)
    for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
        with pytest.raises(CorruptDataError):
            decode_image(data[: int(len(data) * part)], channels=3)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]), places=st.data())
def test_damage_gives_pixels_or_the_named_error_and_nothing_else(kind: str, places: st.DataObject) -> None:
    data = bytearray(_file(_noise("RGB", (20, 20)), kind))
    for _ in range(places.draw(st.integers(1, 4))):
        data[places.draw(st.integers(0, len(data) - 1))] = places.draw(st.integers(0, 255))
    try:
        pixels = decode_image(bytes(data), channels=3, size=16)
    except CorruptDataError:
        return
    assert pixels.shape == (16, 16, 3)


def test_other_channel_counts_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="channels is 4"):
        decode_image(_file(_noise("RGB"), "PNG"), channels=4)
