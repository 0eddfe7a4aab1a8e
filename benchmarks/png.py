"""Which decoder makes pixels of small PNGs fastest, and which of them notices damage?

    python benchmarks/png.py

64x64 RGB crops of scikit-learn's photos and 28x28 grey digits, as Pillow writes them. Decoders that are not installed are left out
(imagecodecs and OpenCV are no dependencies of this project). CPU time an image, the best of nine passes; `equal` says whether
the pixels are Pillow's, `damage` which of a cut file and a file with one bit changed are accepted without an error.
"""

import contextlib
import io
import time
from collections.abc import Callable

import numpy as np
from kornia_rs.io import decode_image_png_u8
from measuring import machine
from numpy.typing import NDArray
from PIL import Image

from pipeline.shards import decode_image, open_source

Decode = Callable[[bytes], NDArray[np.uint8]]
IMAGES = 300


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def photos() -> list[bytes]:
    """Crops of two photos, halved."""
    from sklearn.datasets import load_sample_images

    originals, draw = load_sample_images().images, np.random.default_rng(0)
    places = zip(draw.integers(0, 2, IMAGES), draw.integers(0, 290, IMAGES), draw.integers(0, 500, IMAGES), strict=True)
    return [encoded(np.asarray(Image.fromarray(originals[k][y : y + 128, x : x + 128]).resize((64, 64)))) for k, y, x in places]


def decoders(shape: tuple[int, int], channels: int) -> dict[str, Decode]:
    """Every decoder that is installed."""
    found: dict[str, Decode] = {
        "ours: kornia-rs, else Pillow": lambda data: decode_image(data, channels=channels, size=shape[0]),
        "kornia-rs": lambda data: decode_image_png_u8(data, shape, "rgb" if channels == 3 else "mono"),
        "Pillow": lambda data: np.asarray(Image.open(io.BytesIO(data))),
    }
    with contextlib.suppress(ImportError):
        import imagecodecs  # pyright: ignore[reportMissingImports]

        found["imagecodecs (libpng)"] = lambda data: imagecodecs.png_decode(data)
        found["imagecodecs (libspng)"] = lambda data: imagecodecs.spng_decode(data)
    with contextlib.suppress(ImportError):
        import cv2  # pyright: ignore[reportMissingImports]

        cv2.setNumThreads(1)
        kind = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
        found["OpenCV"] = lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), kind)
    return found


def measured(decode: Decode, files: list[bytes]) -> str:
    """Columns of one row."""
    passes = []
    for _ in range(9):
        begin = time.process_time()
        for data in files:
            decode(data)
        passes.append((time.process_time() - begin) / len(files))
    expected = [np.asarray(Image.open(io.BytesIO(data))) for data in files]
    equal = all(np.array_equal(np.asarray(decode(d)).reshape(e.shape), e) for d, e in zip(files, expected, strict=True))
    flipped = bytearray(files[0])
    flipped[len(flipped) // 2] ^= 16
    accepted = [
        name for name, data in (("cut", files[0][: len(files[0]) // 2]), ("one bit", bytes(flipped))) if accepts(decode, data)
    ]
    return f"{min(passes) * 1e6:.1f} | {'yes' if equal else 'no'} | {', '.join(accepted) or 'none'}"


def accepts(decode: Decode, data: bytes) -> bool:
    """Whether a decoder makes pixels of damaged bytes."""
    try:
        return decode(data) is not None
    except Exception:  # noqa: BLE001 (every decoder has errors of its own)
        return False


def main() -> None:
    """Prints the table."""
    print("\n".join(f"- {line}" for line in machine(["kornia-rs", "pillow"])), flush=True)
    digits = open_source("mnist")
    cases = {"64x64 RGB": (photos(), (64, 64), 3), "28x28 grey": ([digits.load(n).data for n in range(IMAGES)], (28, 28), 1)}
    for name, (files, shape, channels) in cases.items():
        print(f"\n| {name} | CPU µs an image | equal | damage accepted |\n|---|---:|---|---|")
        for decoder, decode in decoders(shape, channels).items():
            print(f"| {decoder} | {measured(decode, files)} |", flush=True)


if __name__ == "__main__":
    main()
