"""The one transparent color of a PNG shows white at every depth, and no other color does."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CorruptDataError
from pipeline.shards import decode_image

GREY, RGB = 0, 2
ALL, ADAM7 = [(0, 0, 1, 1)], [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def row_bytes(samples: np.ndarray, depth: int) -> bytes:
    bits = (samples.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    return b"\0" + np.packbits(bits.astype(np.uint8)).tobytes()


def png(samples: np.ndarray, depth: int, color: tuple[int, ...], *, interlaced: bool = False, animated: bool = False) -> bytes:
    """A PNG of integers [H, W, 1 or 3] with one transparent color, written by hand: Pillow writes few depths."""
    height, width, channels = samples.shape
    header = struct.pack(">IIBBBBB", width, height, depth, GREY if channels == 1 else RGB, 0, 0, interlaced)
    passes = [samples[top::down, left::right] for top, left, down, right in (ADAM7 if interlaced else ALL)]
    rows = b"".join(row_bytes(row, depth) for part in passes if part.size for row in part)
    moving = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(
        b"fcTL", struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 1, 0, 0)
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tRNS", struct.pack(f">{channels}H", *color))
        + (moving if animated else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def shown(samples: np.ndarray, depth: int, color: tuple[int, ...]) -> np.ndarray:
    """What should be seen: uint8 [H, W, 3]."""
    eight = samples >> 8 if depth == 16 else samples * (255 // (2**depth - 1))
    return np.broadcast_to(np.where((samples == color).all(2, keepdims=True), 255, eight), (*samples.shape[:2], 3))


@settings(max_examples=150, deadline=None)
@given(
    depth=st.sampled_from([(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (8, 3), (16, 3)]),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    interlaced=st.booleans(),
    animated=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_transparent_color_is_white_and_no_other(
    depth: tuple[int, int], height: int, width: int, interlaced: bool, animated: bool, seed: int
) -> None:
    bits, channels = depth
    rng = np.random.default_rng(seed)
    # Few bytes, so that colors share their upper or their lower ones, and one color's lower are another's upper ones.
    bytes_ = rng.integers(0, 256, 2)
    values = (bytes_[:, None] * 256 + bytes_).ravel() if bits == 16 else rng.integers(0, 2**bits, 2)
    samples = rng.choice(values, (height, width, channels))
    color = tuple(samples[0, 0].tolist())
    data = png(samples, bits, color, interlaced=interlaced, animated=animated)
    np.testing.assert_array_equal(decode_image(data, channels=3), shown(samples, bits, color))
    if channels == 1:
        np.testing.assert_array_equal(decode_image(data, channels=1), shown(samples, bits, color)[:, :, :1])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_picture_of_16_bits_is_right_in_all_its_bands(channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (1100, 1000, channels))
    samples[::7] = 0x1234
    color = (0x1234,) * channels
    data = png(samples, 16, color)
    np.testing.assert_array_equal(decode_image(data, channels=3), shown(samples, 16, color))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_damaged_picture_of_16_bits_is_refused(channels: int) -> None:
    data = png(np.random.default_rng(0).integers(0, 65536, (40, 40, channels)), 16, (7,) * channels)
    for part in (0.02, 0.1, 0.3, 0.5, 0.9):
        with pytest.raises(CorruptDataError):
            decode_image(data[: int(len(data) * part)], channels=3)
