"""A JPEG's header in one walk against libjpeg's, and against Pillow's view of EXIF."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import CorruptDataError
from pipeline.shards import decode_image
from pipeline.shards.jpeg import _walked, jpeg_header, jpeg_size  # pyright: ignore[reportPrivateUsage]

COMPONENTS = {"L": 1, "RGB": 3, "CMYK": 4}


def jpeg(mode: str, width: int, height: int, *, progressive: bool = False, orientation: int | None = None) -> bytes:
    pixels = np.random.default_rng(7).integers(0, 256, (height, width, COMPONENTS[mode]), dtype=np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if mode == "L" else pixels, mode).save(file, "JPEG", progressive=progressive, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("mode", COMPONENTS)
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("orientation", [None, 1, 6])
def test_the_header_is_what_libjpeg_says(mode: str, progressive: bool, orientation: int | None) -> None:
    data = memoryview(jpeg(mode, 19, 31, progressive=progressive, orientation=orientation))
    header = jpeg_header(data)
    assert header[:2] == jpeg_size(data)[:2] == (31, 19)
    assert header[2:] == (COMPONENTS[mode], orientation or 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@given(at=st.integers(2, 700), value=st.integers(0, 255))
def test_a_damaged_header_is_refused_or_costs_nothing_but_pixels(at: int, value: int) -> None:
    data = bytearray(jpeg("RGB", 19, 31))
    data[at] = value
    try:
        pixels = decode_image(bytes(data), channels=3)
    except CorruptDataError:
        return
    assert pixels.shape[:2] == Image.open(io.BytesIO(bytes(data))).size[::-1]


def test_bytes_that_end_within_a_segment_are_no_header() -> None:
    data = jpeg("RGB", 19, 31)
    frame = data.index(b"\xff\xc0")
    for end in range(frame + 10):
        assert jpeg_header(memoryview(data[:end]))[:3] == (0, 0, 0)
    assert jpeg_header(memoryview(data[: frame + 10]))[:3] == (31, 19, 3)


def _variants() -> list[bytes]:
    plain = jpeg("RGB", 19, 31)
    scan = plain.index(b"\xff\xda")
    turned = jpeg("RGB", 19, 31, orientation=6)
    late = turned[turned.index(b"\xff\xe1") :][: int.from_bytes(turned[turned.index(b"\xff\xe1") + 2 :][:2], "big") + 2]
    return [
        plain,
        turned,
        jpeg("RGB", 31, 19),
        jpeg("L", 19, 31),
        plain[:scan] + late + plain[scan:],  # the same up to where the other's first scan begins
        plain[:scan] + b"\xff" + plain[scan:],
        plain[: scan + 2],
        plain[: scan + 1],
        plain[:scan],
        plain[:scan] + b"\0" + plain[scan:],
        # Segments that are too short for what they should hold, so that what follows is looked at.
        *(b"\xff\xd8\xff\xc0\0\2\xff\xda" + tail for tail in (b"", bytes(8), bytes(range(9)))),
        *(b"\xff\xd8\xff\xe1\0\2\xff\xda" + tail for tail in (b"", bytes(8), bytes(range(99)))),
    ]


@given(order=st.lists(st.integers(0, 15), max_size=30))
def test_what_was_looked_at_before_changes_nothing(order: list[int]) -> None:
    files = [memoryview(data) for data in _variants()]
    assert [jpeg_header(files[number]) for number in order] == [_walked(files[number])[0] for number in order]
