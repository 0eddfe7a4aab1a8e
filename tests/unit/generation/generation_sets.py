"""Small published sets for the tests of `repair`, without a checkpoint."""

from pathlib import Path

import numpy as np

from pipeline.generation.encode import encode_png
from pipeline.generation.repair import Repair, repair
from pipeline.samples import Origin, PartRows, PartSuffix, SampleSet, encode_part, open_ranges, verify

SPEC: dict[str, object] = {"generation": {"seed": 0, "labels": [1, 2]}, "checkpoint": "ab" * 32}


def commit(samples: SampleSet, first: int, rows: int, suffix: PartSuffix, spec: dict[str, object] = SPEC) -> None:
    images = [encode_png(np.full((4, 4, 1), index, np.uint8)) for index in range(first, first + rows)]
    samples.commit(first, encode_part(PartRows(first=first, images=images, labels=[1] * rows), spec, suffix), rows, suffix)


def made(folder: Path, suffix: PartSuffix, rows: int = 12) -> Path:
    samples = SampleSet(str(folder))
    samples.open(SPEC, num_samples=rows)
    Origin(given="/runs/a", checkpoint="/runs/a/checkpoints/1").write(str(folder))
    for span in open_ranges(rows, 5, samples.committed()):
        commit(samples, span.first, span.rows, suffix)
    samples.publish(rows)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return {name: data for name, data in files.items() if not name.startswith("quarantine")}


def mended(folder: Path) -> Repair:
    damaged = verify(str(folder))
    assert not damaged.ok, "verify found nothing"
    return repair(damaged)
