"""Small sample sets for tests: the image of a sample is a function of its index."""

import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.samples import PartRange, PartRows, SampleSet, encode_part, open_ranges

SPEC: dict[str, object] = {
    "checkpoint": "0f" * 32,
    "seed": 7,
    "sampler": {"name": "ddim", "steps": 20, "guidance": 1.5},
    "labels": [0, 1, 2],
}

SHAPE = (4, 5, 3)
"""Height, width and channels of raw pixels."""


def png(index: int, size: int = 6) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels(index: int) -> bytes:
    return np.random.default_rng(index).integers(0, 256, SHAPE, dtype=np.uint8).tobytes()


def stacked(span: PartRange) -> NDArray[np.uint8]:
    """Raw pixels of a part, a view with gaps as samplers may hand over."""
    wide = np.zeros((span.rows, *SHAPE[:2], 2 * SHAPE[2]), np.uint8)
    for row in range(span.rows):
        wide[row, :, :, ::2] = np.frombuffer(pixels(span.first + row), np.uint8).reshape(SHAPE)
    return wide[:, :, :, ::2]


def rows_of(span: PartRange, *, raw: bool = False, keyed: bool = False, labeled: bool = True) -> PartRows:
    indices = range(span.first, span.first + span.rows)
    return PartRows(
        first=span.first,
        images=stacked(span) if raw else [png(index) for index in indices],
        labels=[index % 3 for index in indices] if labeled else None,
        keys=[f"key-{index}" for index in indices] if keyed else None,
    )


def part(span: PartRange, *, labeled: bool = True, spec: dict[str, object] = SPEC) -> bytes:
    rows = range(span.first, span.first + span.rows)
    labels = [index % 3 for index in rows] if labeled else None
    return bytes(encode_part(PartRows(first=span.first, images=[png(index) for index in rows], labels=labels), spec))


def fill(samples: SampleSet, spans: Iterable[PartRange]) -> None:
    for span in spans:
        samples.commit(span.first, part(span), span.rows)


def finished_set(url: str, num_samples: int = 25, part_rows: int = 10) -> SampleSet:
    samples = SampleSet(url)
    samples.open(SPEC, num_samples=num_samples)
    fill(samples, open_ranges(num_samples, part_rows, samples.committed()))
    samples.publish(num_samples)
    return samples
