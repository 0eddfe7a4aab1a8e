"""Presets for GPUs, on RGB shards of their size: packed and planned by the commands of the documents."""

from pathlib import Path

import numpy as np
import pytest
from job_runs import JobHere
from PIL import Image


@pytest.mark.parametrize(
    ("preset", "size", "says"),
    [
        ("cifar10-like", 32, ("diffusion, 35,488,259 parameters, images 3x32x32", "800,000 of batch 128", "1 trainers")),
        ("imagenet64-like", 64, ("diffusion, 265,673,283 parameters, images 3x64x64", "540,000 of batch 2048", "8 trainers")),
    ],
)
def test_the_plan_of_a_large_run(preset: str, size: int, says: tuple[str, ...], job_here: JobHere, tmp_path: Path) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (2, 5, size, size, 3), dtype=np.uint8)
    for label, images in enumerate(pixels):
        (tmp_path / "images" / f"class{label}").mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "images" / f"class{label}" / f"{number}.png")
    packed = job_here("pack.py", "--images", tmp_path / "images", "--output", tmp_path / "shards", "--shard-size", 5)
    assert packed.code == 0, packed
    run = tmp_path / "run"
    planned = job_here("train.py", preset, "--data", tmp_path / "shards", "--run-dir", run, "--dry-run")
    assert planned.code == 0, planned
    for text in (*says, "10 samples in 2 shards"):
        assert text in planned.out
    assert not run.exists()
