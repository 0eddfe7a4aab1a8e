"""Batches made from real shards: the rows the order names, whoever reads them and wherever reading begins."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CorruptDataError
from pipeline.order import pieces
from pipeline.shards import ImageSource, SourceImage, open_data, open_source, pack
from pipeline.stream import ImageSpec, SliceReader, StreamConfig, concatenate, make_order, read_all

IMAGE = ImageSpec(size=8, channels=1, num_classes=10)
CONFIG = StreamConfig(batch_size=24, lanes=6, window=50)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("digits")
    pack(open_source("digits"), str(folder), shard_size=300)
    return str(folder)


def test_rows_are_the_samples_that_the_order_names(data: str) -> None:
    index = open_data(data)
    order, whole = make_order(index, CONFIG, seed=3), read_all(index, size=8, channels=1)
    reader = SliceReader(index, order, IMAGE, 0, 24)
    for step in (0, 1, 2, 74, 75, 76, 500):  # an epoch ends within batch 74
        batch = reader.batch(step)
        assert np.array_equal(batch.samples, order.rows(step).sample)
        assert np.array_equal(batch.images, whole.images[batch.samples])
        assert np.array_equal(batch.labels, whole.labels[batch.samples])
        assert np.array_equal(batch.epochs, order.rows(step).epoch)
    reader.close()


@pytest.mark.parametrize(("loaders", "ranks"), [(1, 2), (5, 2), (3, 4), (24, 1)])
def test_slices_put_together_are_the_whole_batch(data: str, loaders: int, ranks: int) -> None:
    index = open_data(data)
    order = make_order(index, CONFIG, seed=3)
    whole = SliceReader(index, order, IMAGE, 0, 24)
    parts = [SliceReader(index, order, IMAGE, p.start, p.stop) for p in pieces(24, loaders, ranks)]
    for step in (0, 7):
        expected, got = whole.batch(step), concatenate([part.batch(step) for part in parts])
        assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))
    for reader in [whole, *parts]:
        reader.close()


def test_an_epoch_has_every_image_once(data: str) -> None:
    index = open_data(data)
    reader = SliceReader(index, make_order(index, CONFIG, seed=0), IMAGE, 0, 24)
    seen = np.concatenate([reader.batch(step).samples for step in range(80)])
    epochs = np.concatenate([reader.batch(step).epochs for step in range(80)])
    assert np.array_equal(np.sort(seen[epochs == 0]), np.arange(1797))
    reader.close()


def _tiny(data: bytes, label: int) -> ImageSource:
    image = SourceImage(data=data, extension="png", shape=(8, 8, 1), label=label, metadata={})
    return ImageSource(name="tiny", num_images=4, load=lambda number: image, class_names=("a",), seed=0)


def test_a_label_outside_the_model_is_refused_with_its_place(tmp_path: Path) -> None:
    source = open_source("digits")
    pack(_tiny(source.load(0).data, label=12), str(tmp_path))
    index = open_data(str(tmp_path))
    reader = SliceReader(index, make_order(index, StreamConfig(batch_size=4), seed=0), IMAGE, 0, 4)
    with pytest.raises(CorruptDataError, match=r"label 12, expected 0 to 9 .*shard-000000.tar at byte"):
        reader.batch(0)
    reader.close()


def test_a_damaged_image_is_refused_with_its_place(tmp_path: Path) -> None:
    source = open_source("digits")
    pack(_tiny(source.load(0).data, label=1), str(tmp_path))
    shard = tmp_path / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    at = content.rindex(b"IDAT")
    content[at + 4 : at + 12] = bytes(8)
    shard.write_bytes(content)
    (tmp_path / "index.versions.json").unlink()  # a copy of the data set, damaged before it was first opened
    index = open_data(str(tmp_path))
    reader = SliceReader(index, make_order(index, StreamConfig(batch_size=4), seed=0), IMAGE, 0, 4)
    with pytest.raises(CorruptDataError, match=r"^sample '00000003' has the checksum .*shard-000000.tar at byte"):
        reader.batch(0)
    reader.close()
