"""Small sample sets for tests: the image of a sample is a function of its index."""

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from pipeline.samples import PartRange, PartRows, SampleSet, encode_part, open_ranges

SPEC: dict[str, object] = {
    "checkpoint": "0f" * 32,
    "seed": 7,
    "sampler": {"name": "ddim", "steps": 20, "guidance": 1.5},
    "labels": [0, 1, 2],
}


def png(index: int, size: int = 6) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


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
