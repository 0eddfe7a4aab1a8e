"""Mixtures from files to batches: weights as written, rows from all data sets, one data set as ever."""

import json
from pathlib import Path

import numpy as np
import pytest
from damage import DAMAGED, write_damaged

from pipeline.errors import ConfigError
from pipeline.order import MixtureOrder, pieces
from pipeline.shards import open_data, open_source, pack
from pipeline.stream import ImageSpec, SliceReader, StreamConfig, concatenate, make_order

IMAGE = ImageSpec(size=8, channels=1, num_classes=10)
CONFIG = StreamConfig(batch_size=20, lanes=5, window=30)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixture")
    pack(open_source("digits"), str(folder / "digits"), shard_size=300)
    write_damaged(folder / "numbers")
    return folder


def mixture(home: Path, **weights: object) -> str:
    path = home / f"{abs(hash(str(weights)))}.json"
    path.write_text(json.dumps({"mixture": weights}))
    return str(path)


def test_a_mixture_streams_in_its_proportions_whoever_reads(home: Path) -> None:
    index = open_data(mixture(home, digits=0.7, numbers=0.3))
    assert [(s.name, s.weight, s.num_shards) for s in index.sources] == [("digits", 7, 6), ("numbers", 3, 3)]
    order = make_order(index, CONFIG, seed=1)
    assert isinstance(order, MixtureOrder)
    assert [source.num_lanes for source in order.sources] == [4, 2]
    whole = SliceReader(index, order, IMAGE, 0, 20, on_corrupt=lambda sample: None)
    parts = [SliceReader(index, order, IMAGE, p.start, p.stop, on_corrupt=lambda sample: None) for p in pieces(20, 3, 2)]
    seen = []
    for step in range(20):
        batch, again = whole.batch(step), concatenate([part.batch(step) for part in parts])
        assert all(np.array_equal(a, b) for a, b in zip(batch, again, strict=True))
        numbers = batch.samples >= 1797
        assert numbers.sum() == 6
        sound = numbers & ~np.isin(batch.samples - 1797, list(DAMAGED))
        assert np.array_equal(batch.images[sound][:, 0, 0, 0], batch.samples[sound] - 1797)
        shown = batch.images[numbers].reshape(numbers.sum(), -1)
        assert (shown == shown[:, :1]).all()  # a stand-in comes from the same data set
        seen += batch.samples[numbers & (batch.epochs == 0)].tolist()
    assert sorted(seen) == list(range(1797, 1797 + 90))
    for reader in (whole, *parts):
        reader.close()


def test_weights_are_the_decimal_numbers_that_are_written(home: Path) -> None:
    cases = {(0.1, 0.2): [1, 2], (1, 3): [1, 3], (4, 6): [2, 3], (0.333, 0.667): [333, 667], (1e-3, 2): [1, 2000]}
    for (a, b), expected in cases.items():
        assert [source.weight for source in open_data(mixture(home, digits=a, numbers=b)).sources] == expected


def test_the_fingerprint_moves_with_the_weights(home: Path) -> None:
    prints = {open_data(mixture(home, digits=a, numbers=1)).fingerprint() for a in (1, 2)}
    assert len(prints | {open_data(str(home / "digits")).fingerprint()}) == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"mixture": {"digits": 1}}, "at least two data sets"),
        ({"mixture": ["digits", "numbers"]}, "at least two data sets"),
        ({"mixture": {"digits": 1, "numbers": 0}}, "weights above 0"),
        ({"mixture": {"digits": 1, "numbers": "2"}}, "weights above 0"),
        ({"mixture": {"digits": 1, "numbers": None}}, "weights above 0"),
        ({"mixture": {"digits": 1, "numbers": 1.23456789012}}, "more than 9 digits"),
        ({"mixture": {"digits": 1, "wrong.json": 1}}, r"got the mixture wrong\.json inside the mixture wrong\.json"),
        ({"mixture": {"digits": 1, "nowhere": 1}}, "there is no .*nowhere"),
    ],
)
def test_mistakes_are_named_in_one_line(home: Path, content: object, problem: str) -> None:
    path = home / "wrong.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=problem) as caught:
        open_data(str(path))
    assert "\n" not in str(caught.value)


def test_a_mixture_of_mixtures_is_refused(home: Path) -> None:
    inner = mixture(home, digits=1, numbers=2)
    with pytest.raises(ConfigError, match="inside the mixture"):
        open_data(mixture(home, **{inner: 1, "digits": 1}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"mixture": {"digits": Infinity, "numbers": 1}}', "Infinity is no weight"),
        ('{"mixture": {"digits": NaN, "numbers": 1}}', "NaN is no weight"),
        ('{"mixture": {"digits": 1, "numbers": 1, "digits": 3}}', "'digits' is named twice"),
    ],
)
def test_weights_that_are_none_and_a_data_set_named_twice_are_refused(home: Path, text: str, problem: str) -> None:
    path = home / "wrong.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        open_data(str(path))


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"size": 0}, "size must be"), ({"channels": 2}, "channels must be 1 or 3, got 2"), ({"num_classes": -1}, "num_classes")],
)
def test_images_that_cannot_be_made_are_refused(values: dict[str, int], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ImageSpec(**{"size": 8, "channels": 1, "num_classes": 10, **values})  # pyright: ignore[reportArgumentType]
