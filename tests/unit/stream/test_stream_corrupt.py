"""Damaged samples: replaced alike by whoever meets them, each listed once, held to a budget."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from damage import DAMAGED, NUM_SAMPLES, REASONS, write_damaged

from pipeline.errors import CorruptDataError
from pipeline.order import pieces
from pipeline.shards import CENTER, ShardIndex, open_data, read_samples
from pipeline.stream import (
    BatchArrays,
    CorruptSample,
    ImageSpec,
    OnCorrupt,
    Quarantine,
    SliceReader,
    StreamConfig,
    concatenate,
    make_order,
    read_quarantine,
)
from pipeline.stream.rows import RowMaker

IMAGE = ImageSpec(size=8, channels=1, num_classes=10)
CONFIG = StreamConfig(batch_size=18, lanes=3, window=10)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    return open_data(write_damaged(tmp_path_factory.mktemp("corrupt") / "data"))


def batches(
    index: ShardIndex, steps: range, on_corrupt: OnCorrupt | None, loaders: int = 1, ranks: int = 1
) -> list[BatchArrays]:
    order = make_order(index, CONFIG, seed=5)
    readers = [
        SliceReader(index, order, IMAGE, p.start, p.stop, on_corrupt=on_corrupt)
        for p in pieces(CONFIG.batch_size, loaders, ranks)
    ]
    made = [concatenate([reader.batch(step) for reader in readers]) for step in steps]
    for reader in readers:
        reader.close()
    return made


def test_every_kind_of_damage_is_replaced_by_a_sound_sample_and_listed(index: ShardIndex) -> None:
    found: list[CorruptSample] = []
    epoch = batches(index, range(5), found.append)
    samples = np.concatenate([batch.samples for batch in epoch])
    shown = np.concatenate([batch.images for batch in epoch])[:, 0, 0, 0]
    labels = np.concatenate([batch.labels for batch in epoch])
    assert sorted(samples.tolist()) == list(range(NUM_SAMPLES))
    damaged = np.isin(samples, list(DAMAGED))
    assert np.array_equal(shown[~damaged], samples[~damaged])
    assert not np.isin(shown, list(DAMAGED)).any()
    assert np.array_equal(labels, shown % 10)  # a row never has one sample's image and another's label
    listed = {int(sample.key): sample for sample in found}
    assert listed.keys() == DAMAGED.keys()
    assert len(found) == len(DAMAGED)
    for (number, sample), reason in zip(sorted(listed.items()), REASONS, strict=True):
        assert reason in sample.reason, (number, sample)
        assert sample.uri.endswith(f"s-{number // 30 * 30:03d}.tar")
        header = Path(sample.uri).read_bytes()[sample.offset : sample.offset + 4]
        assert header == f"{number:03d}.".encode()


def test_images_over_the_limit_are_damaged(index: ShardIndex) -> None:
    reader = SliceReader(index, make_order(index, CONFIG, seed=5), replace(IMAGE, max_pixels=63), 0, CONFIG.batch_size)
    with pytest.raises(CorruptDataError, match="image of 8x8 pixels, at most 63 are decoded"):
        reader.batch(0)
    reader.close()


def test_stand_ins_change_with_the_epoch(index: ShardIndex) -> None:
    made = batches(index, range(15), lambda sample: None)
    rows = [(e, s, v) for b in made for e, s, v in zip(b.epochs, b.samples, b.images[:, 0, 0, 0], strict=True) if s in DAMAGED]
    assert len({(int(sample), int(value)) for _, sample, value in rows}) > len(DAMAGED)


@pytest.mark.parametrize(("loaders", "ranks"), [(2, 1), (3, 2), (18, 3)])
def test_the_batch_is_the_same_for_all_numbers_of_loaders(index: ShardIndex, loaders: int, ranks: int) -> None:
    expected = batches(index, range(6), lambda sample: None)
    got = batches(index, range(6), lambda sample: None, loaders, ranks)
    for a, b in zip(expected, got, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_without_a_list_damage_is_refused(index: ShardIndex) -> None:
    with pytest.raises(CorruptDataError, match=r"sample '\d\d\d'.*s-0\d0\.tar at byte \d+"):
        batches(index, range(5), None)


def test_what_is_refused_names_its_sample_once(index: ShardIndex) -> None:
    rows = RowMaker(index, make_order(index, CONFIG, seed=5), IMAGE, None)
    out = np.empty((8, 8, 1), np.uint8)
    for raw in (raw for number, shard in enumerate(index.shards) for raw in read_samples(index, number, 0, shard.num_samples)):
        if int(raw.key) in DAMAGED:
            with pytest.raises(CorruptDataError, match=rf"^sample '{raw.key}'") as caught:
                rows.fill(raw, 0, int(raw.key), CENTER, out)
            assert str(caught.value).count("sample '") == 1


def test_the_quarantine_lists_each_sample_once_also_after_a_resume(index: ShardIndex, tmp_path: Path) -> None:
    url = str(tmp_path / "quarantine.jsonl")
    first = Quarantine(url, allowed=9)
    batches(index, range(3), first.add, loaders=3)
    found_by_then = read_quarantine(url)
    assert 0 < len(found_by_then) == len(first) < 9
    second = Quarantine(url, allowed=9)  # another process, which begins a few batches back
    batches(index, range(1, 12), second.add, loaders=2)
    listed = read_quarantine(url)
    assert listed[: len(found_by_then)] == found_by_then
    assert sorted(int(sample.key) for sample in listed) == list(DAMAGED)
    assert not second.add(listed[0])
    assert len(second) == 9


def test_over_the_budget_the_one_error_says_what_to_do(index: ShardIndex, tmp_path: Path) -> None:
    url = str(tmp_path / "quarantine.jsonl")
    with pytest.raises(
        CorruptDataError, match=r"^5 samples cannot be decoded, at most 4 .*max-corrupt-share.*quarantine\.jsonl"
    ):
        batches(index, range(9), Quarantine(url, allowed=4).add)
    assert len(read_quarantine(url)) == 5
    with pytest.raises(CorruptDataError, match=r"^5 samples"):  # whichever it is, a resumed run stops at the first
        batches(index, range(9), Quarantine(url, allowed=4).add)
    assert len(read_quarantine(url)) == 5


def test_a_data_set_without_a_sound_sample_ends_in_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        for number in range(20):
            archive.addfile(tarfile.TarInfo(f"{number}.png"))
    index = open_data(str(tmp_path / "bad.tar"))
    found: list[CorruptSample] = []
    with pytest.raises(CorruptDataError, match="none of 64 samples"):
        batches(index, range(1), found.append)
    assert len(found) == len({sample.key for sample in found})


def test_a_quarantine_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"uri": "a"}\n')
    with pytest.raises(CorruptDataError, match=r"expected one JSON object a line .*q\.jsonl"):
        Quarantine(str(tmp_path / "q.jsonl"), allowed=1)


@pytest.mark.parametrize(("share", "samples", "allowed"), [(0.0, 10**6, 0), (0.001, 10, 1), (0.001, 10**6, 1000), (1.0, 7, 7)])
def test_the_budget_is_a_share_of_the_samples(share: float, samples: int, allowed: int) -> None:
    assert StreamConfig(max_corrupt_share=share).corrupt_allowed(samples) == allowed
