"""Decoding what only Pillow reads: few full-size copies, and the same pixels however they are made."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.errors import CorruptDataError
from pipeline.shards import DECODING_BYTES_PER_PIXEL, decode, decode_image

PROC = Path("/proc/self/clear_refs")
PEAK = """
import sys
from pipeline.shards import decode_image
from PIL import Image

def kib(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

decode_image(open(sys.argv[2], "rb").read(), channels=3, size=64)  # what is loaded once
data = open(sys.argv[1], "rb").read()
before = kib("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
decode_image(data, channels=3, size=64)
print((kib("VmHWM") - before) * 1024)
"""


def _noise(mode: str, size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(0)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size[::-1], dtype=np.uint16))
    if mode == "P":
        return _noise("RGB", size).quantize(50)
    bands = len(Image.new(mode, (1, 1)).getbands())
    if mode == "1":
        return _noise("L", size).convert("1")
    return Image.frombytes(mode, size, rng.integers(0, 256, (size[1], size[0], bands), dtype=np.uint8).tobytes())


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def _peak(tmp_path: Path, large: bytes) -> int:
    """Bytes that decoding takes at its peak, in a process of its own."""
    (tmp_path / "large").write_bytes(large)
    (tmp_path / "small").write_bytes(_file(Image.new("RGBA", (8, 8)), "PNG"))
    command = [sys.executable, "-c", PEAK, str(tmp_path / "large"), str(tmp_path / "small")]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not PROC.exists(), reason="peaks are read from Linux' /proc")
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_transparent_picture_is_in_memory_twice_and_not_four_times(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _file(Image.new("RGBA", (3000, 3000), (9, 9, 9, 99)), "PNG", exif=exif.tobytes())
    # 4 bytes a pixel while Pillow holds it, 3 for the result, and bands; 4 copies of 4 bytes would be 16 and more.
    assert _peak(tmp_path, data) < 12 * 3000**2


@pytest.mark.skipif(not PROC.exists(), reason="peaks are read from Linux' /proc")
@pytest.mark.parametrize("kind", ["JPEG2000", "WEBP", "GIF"])
def test_decoding_takes_what_is_stated_and_no_more(tmp_path: Path, kind: str) -> None:
    image = Image.effect_noise((500, 500), 60).convert("P" if kind == "GIF" else "RGBA").resize((2500, 2500))
    assert _peak(tmp_path, _file(image, kind)) < (DECODING_BYTES_PER_PIXEL + 1) * 2500**2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "L", "RGB", "I;16"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_do_not_depend_on_the_bands(monkeypatch: pytest.MonkeyPatch, mode: str, orientation: int, channels: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"transparency": 7} if mode == "P" else {}
    data = _file(_noise(mode, (23, 31)), "PNG", exif=exif.tobytes(), **options)
    whole = decode_image(data, channels=channels)
    monkeypatch.setattr(decode, "_BAND_PIXELS", 100)
    np.testing.assert_array_equal(decode_image(data, channels=channels), whole)
    assert whole.shape == ((23, 31, channels) if orientation >= 5 else (31, 23, channels))


@pytest.mark.parametrize("size", [24, 40, 150])
def test_a_cmyk_jpeg_is_decoded_small_and_looks_like_pillows(size: int) -> None:
    y, x = np.mgrid[0:320, 0:480]
    photo = Image.fromarray(np.stack([x * 255 / 480, y * 255 / 320, (x + y) * 255 / 800], -1).astype(np.uint8))
    data = _file(photo.convert("CMYK"), "JPEG", quality=95)
    expected = np.asarray(ImageOps.fit(photo, (size, size), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(decode_image(data, channels=3, size=size) - expected).max() <= 8


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # pytest's filters go before those of the module
@pytest.mark.parametrize("exif", [b"garbage!!", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff\x01\x12"])
@pytest.mark.parametrize("kind", ["WEBP", "PNG", "CMYK"])
def test_damaged_exif_does_not_cost_the_picture(kind: str, exif: bytes) -> None:
    image = _noise("RGBA", (20, 10)).convert("CMYK" if kind == "CMYK" else "RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    data, damaged = (
        _file(image, "JPEG" if kind == "CMYK" else kind, **options, **more) for more in ({}, {"exif": b"Exif\0\0" + exif})
    )
    assert exif in damaged
    np.testing.assert_array_equal(decode_image(damaged, channels=3), decode_image(data, channels=3))


def test_a_remark_of_libjpeg_does_not_cost_the_picture_and_a_cut_does() -> None:
    data = _file(_noise("RGB", (64, 48)), "JPEG")
    at = data.index(b"JFIF\0") + 5
    other = data[:at] + struct.pack(">BB", 2, 1) + data[at + 2 :]  # revision 2.01
    assert np.abs(decode_image(other, channels=3).astype(int) - decode_image(data, channels=3)).max() <= 2
    for part in (0.3, 0.5, 0.7, 0.9, 0.97):
        with pytest.raises(CorruptDataError, match="damaged JPEG"):
            decode_image(other[: int(len(other) * part)], channels=3)
