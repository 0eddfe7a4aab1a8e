"""Crops and mirrors belong to the sample and its epoch, and to nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.order import chances, pieces
from pipeline.shards import Cut, ShardIndex, decode_image, open_data, open_source, pack
from pipeline.shards.geometry import cut_square
from pipeline.stream import BatchArrays, ImageSpec, SliceReader, StreamConfig, concatenate, make_order, read_all

CONFIG = StreamConfig(batch_size=30, lanes=5, window=40)
SPECS = {
    "flip": ImageSpec(size=8, channels=1, num_classes=10, flip=True),
    "crop": ImageSpec(size=6, channels=1, num_classes=10, crop="random", crop_min=0.7),
    "both": ImageSpec(size=6, channels=3, num_classes=10, crop="random", crop_min=0.5, flip=True),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    folder = tmp_path_factory.mktemp("augment")
    pack(open_source("digits"), str(folder), shard_size=300)
    return open_data(str(folder))


def made(index: ShardIndex, spec: ImageSpec, steps: range, loaders: int, *, seed: int = 3, batch_size: int = 30) -> BatchArrays:
    order = make_order(index, StreamConfig(batch_size=batch_size, lanes=5, window=40), seed)
    readers = [SliceReader(index, order, spec, p.start, p.stop) for p in pieces(batch_size, loaders, 1)]
    rows = concatenate([reader.batch(step) for step in steps for reader in readers])
    for reader in readers:
        reader.close()
    return rows


@pytest.mark.parametrize("name", SPECS)
def test_choices_do_not_depend_on_loaders_or_batches(index: ShardIndex, name: str) -> None:
    one, many = (made(index, SPECS[name], range(60), loaders) for loaders in (1, 7))
    other = made(index, SPECS[name], range(180), 2, batch_size=10)
    assert all(np.array_equal(a, b) for a, b in zip(one, many, strict=True))
    by_sample = dict(zip(other.samples[other.epochs == 0].tolist(), other.images[other.epochs == 0], strict=True))
    assert len(by_sample) > 1500
    for sample, image in zip(one.samples[one.epochs == 0].tolist(), one.images[one.epochs == 0], strict=True):
        if sample in by_sample:
            assert np.array_equal(by_sample[sample], image)


def test_half_of_the_images_are_mirrored_anew_each_epoch(index: ShardIndex) -> None:
    whole = read_all(index, size=8, channels=1).images
    rows = made(index, SPECS["flip"], range(120), 1)
    same = (rows.images == whole[rows.samples]).all((1, 2, 3))
    mirrored = (rows.images == whole[rows.samples][:, :, ::-1]).all((1, 2, 3))
    assert (same | mirrored).all()
    assert 0.45 < mirrored.mean() < 0.55
    first = dict(zip(rows.samples[rows.epochs == 0].tolist(), mirrored[rows.epochs == 0].tolist(), strict=True))
    second = dict(zip(rows.samples[rows.epochs == 1].tolist(), mirrored[rows.epochs == 1].tolist(), strict=True))
    changed = [first[sample] != second[sample] for sample in first.keys() & second.keys()]
    assert 0.45 < np.mean(changed) < 0.55


def test_another_seed_makes_other_choices(index: ShardIndex) -> None:
    a, b = (made(index, SPECS["crop"], range(59), 1, seed=seed) for seed in (3, 4))
    images = [dict(zip(rows.samples.tolist(), rows.images, strict=True)) for rows in (a, b)]
    common = images[0].keys() & images[1].keys()
    assert np.mean([np.array_equal(images[0][sample], images[1][sample]) for sample in common]) < 0.1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("cut", "box"),
    [
        (Cut(side=1.0), (8, 0, 40, 32)),
        (Cut(side=0.5, top=0.0, left=0.0), (0, 0, 16, 16)),
        (Cut(side=0.5, top=1.0, left=1.0), (32, 16, 48, 32)),
        (Cut(side=0.75, top=0.5, left=0.25, mirror=True), (6, 4, 30, 28)),
    ],
)
def test_a_cut_shows_the_part_it_names(cut: Cut, box: tuple[int, int, int, int], channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, channels), np.uint8)
    left, top, right, bottom = box
    exact = cut_square(pixels, right - left, cut)
    expected = pixels[top:bottom, left:right]
    assert np.array_equal(exact, expected[:, ::-1] if cut.mirror else expected)
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    resized = np.asarray(image.resize((10, 10), Image.Resampling.LANCZOS, box=box)).reshape(10, 10, channels)
    assert np.array_equal(cut_square(pixels, 10, cut), resized[:, ::-1] if cut.mirror else resized)


def test_a_cut_of_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path) -> None:
    y, x = np.mgrid[0:512, 0:512]
    Image.fromarray(np.stack([x / 2, y / 2, (x + y) / 4], -1).astype(np.uint8)).save(tmp_path / "p.jpg", quality=95)
    cut = Cut(side=0.6, top=0.2, left=0.9, mirror=True)
    data = (tmp_path / "p.jpg").read_bytes()
    expected = cut_square(decode_image(data, channels=3), 64, cut).astype(int)
    out = np.zeros((64, 64, 3), np.uint8)
    assert decode_image(data, channels=3, size=64, cut=cut, out=out) is out
    assert np.abs(out - expected).max() <= 4


def test_chances_are_frozen_uniform_and_independent() -> None:
    drawn = chances(7, "cut", 2, np.arange(20_000), 4)
    assert drawn.shape == (20_000, 4)
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert np.abs(np.quantile(drawn, np.linspace(0, 1, 11)) - np.linspace(0, 1, 11)).max() < 0.01
    others = [chances(7, "cut", 3, np.arange(20_000), 4), chances(8, "cut", 2, np.arange(20_000), 4)]
    columns = np.concatenate([drawn, *others], axis=1)
    correlations = np.corrcoef(columns.T) - np.eye(12)
    assert np.abs(correlations).max() < 0.03
    assert np.array_equal(chances(7, "cut", 2, np.array([19_999, 5]), 4), drawn[[19_999, 5]])


@pytest.mark.parametrize(
    ("field", "value"), [("crop_min", 0.0), ("crop_min", 1.1), ("max_corrupt_share", -0.1), ("max_pixels", 0)]
)
def test_bad_fields_are_named(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} must be .*, got {value}"):
        replace(StreamConfig(), **{field: value})
