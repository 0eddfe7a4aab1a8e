"""The order's promises, for any data set and any configuration hypothesis finds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, ResumeMismatch
from pipeline.order import Cursor, OrderConfig, StreamOrder, default_lanes, key64, permute, pieces


@st.composite
def orders(draw: st.DrawFn) -> StreamOrder:
    counts = draw(st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(lambda c: sum(c) > 0))
    lanes = draw(st.integers(1, min(6, sum(counts))))
    config = OrderConfig(
        seed=draw(st.integers(0, 2**40)),
        batch_size=lanes * draw(st.integers(1, 9)),
        lanes=lanes,
        window=draw(st.integers(1, 50)),
    )
    return StreamOrder(counts, config)


@given(n=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_permute_is_a_permutation(n: int, key: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(n), n, key)), np.arange(n))


@given(n=st.integers(1, 2**62), key=st.integers(0, 2**64 - 1), data=st.data())
def test_permute_stays_in_range_and_distinct_for_huge_sets(n: int, key: int, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20, unique=True))
    out = permute(np.array(chosen), n, key)
    assert len(set(out.tolist())) == len(chosen)
    assert out.min() >= 0
    assert out.max() < n


@given(order=orders(), steps=st.lists(st.integers(0, 300), max_size=25))
def test_what_was_asked_before_changes_no_stretch(order: StreamOrder, steps: list[int]) -> None:
    for step in steps:
        fresh = StreamOrder(order.counts, order.config)
        assert order.stretches(step, 0, order.batch_size) == fresh.stretches(step, 0, order.batch_size)


@settings(deadline=None)
@given(order=orders())
def test_every_sample_once_an_epoch(order: StreamOrder) -> None:
    b, n = order.config.batch_size, order.num_samples
    seen: Counter[tuple[int, int]] = Counter()
    for step in range(-(-2 * n // b)):
        rows = order.rows(step)
        seen.update(zip(rows.epoch.tolist(), rows.sample.tolist(), strict=True))
    assert all(seen[(epoch, sample)] == 1 for epoch in (0, 1) for sample in range(n))


@settings(deadline=None)
@given(order=orders(), epoch=st.integers(0, 10**7))
def test_all_lanes_end_every_epoch_together(order: StreamOrder, epoch: int) -> None:
    b, n = order.config.batch_size, order.num_samples
    seen: list[int] = []
    for step in range(epoch * n // b, -(-(epoch + 1) * n // b)):
        rows = order.rows(step)
        assert sorted(rows.epoch.tolist()) == [q // n for q in range(step * b, (step + 1) * b)]
        seen += rows.sample[rows.epoch == epoch].tolist()
    assert sorted(seen) == list(range(n))


@given(order=orders(), step=st.integers(0, 10**9), ranks=st.integers(1, 8), loaders=st.integers(1, 9))
def test_global_batch_is_the_same_for_all_numbers_of_ranks_and_loaders(
    order: StreamOrder, step: int, ranks: int, loaders: int
) -> None:
    whole = order.rows(step)
    cut = pieces(order.config.batch_size, loaders, ranks)
    parts = [order.rows(step, p.start, p.stop) for p in cut]
    for field in ("epoch", "shard", "member", "sample"):
        assert np.array_equal(np.concatenate([getattr(p, field) for p in parts]), getattr(whole, field))


@given(batch=st.integers(1, 64), ranks=st.integers(1, 8), loaders=st.integers(1, 80))
def test_pieces_cover_each_row_once_and_ranks_get_equal_shares(batch: int, ranks: int, loaders: int) -> None:
    cut = pieces(batch * ranks, loaders, ranks)
    rows = [row for p in cut for row in range(p.start, p.stop)]
    assert rows == list(range(batch * ranks))
    shares = Counter[int]()
    for p in cut:
        shares[p.rank] += p.stop - p.start
    assert set(shares.values()) == {batch}


@given(order=orders(), step=st.integers(0, 10**6))
def test_rows_name_samples_inside_their_shards(order: StreamOrder, step: int) -> None:
    rows = order.rows(step)
    assert (rows.member >= 0).all()
    assert (rows.member < order.counts[rows.shard]).all()
    assert np.array_equal(rows.sample, np.concatenate(([0], np.cumsum(order.counts)))[rows.shard] + rows.member)


@given(order=orders(), step=st.integers(0, 10**6))
def test_window_segments_hold_exactly_the_rows(order: StreamOrder, step: int) -> None:
    rows = order.rows(step)
    found: list[tuple[int, int]] = []
    places = order.places(step, 0, order.config.batch_size)
    stretches = order.stretches(step, 0, order.config.batch_size)
    assert [s[:3] for s in stretches] == [(p.epoch, p.lane, p.span) for p in places]
    for stretch, place in zip(stretches, places, strict=True):
        positions, samples = order.shuffled(*stretch[:3])
        assert positions[stretch.first : stretch.last].tolist() == place.positions.tolist()
        assert samples[stretch.first : stretch.last].tolist() == order.rows_at([place]).sample.tolist()
    for epoch, lane, span, positions in places:
        flat = [(s.shard, m) for s in order.segments(epoch, lane, span) for m in range(s.start, s.stop)]
        assert len(flat) == span.length
        assert span.length <= order.config.window
        found += [flat[i] for i in positions.tolist()]
    assert found == list(zip(rows.shard.tolist(), rows.member.tolist(), strict=True))


@given(order=orders(), step=st.integers(0, 10**6))
def test_resume_by_cursor_is_the_order_continued(order: StreamOrder, step: int) -> None:
    fresh = StreamOrder(order.counts, order.config)
    fingerprint = order.fingerprint("index")
    cursor = Cursor(samples_consumed=step * order.config.batch_size, fingerprint=fingerprint)
    resumed = cursor.step(fresh.config.batch_size, fresh.fingerprint("index"))
    assert np.array_equal(fresh.rows(resumed).sample, order.rows(step).sample)


@given(a=st.integers(0, 10**6), b=st.integers(0, 10**6))
def test_key64_separates_neighbouring_seeds_and_indices(a: int, b: int) -> None:
    assert key64(a, b) != key64(a + 1, b - 1)
    assert key64("ab", "c") != key64("a", "bc")
    assert key64(a) != key64(str(a))


@given(batch=st.integers(1, 4096), n=st.integers(1, 10**9))
def test_default_lanes_divide_the_batch(batch: int, n: int) -> None:
    lanes = default_lanes(batch, n)
    assert batch % lanes == 0
    assert 1 <= lanes <= min(16, n)


def test_cursor_of_another_order_is_refused_by_name() -> None:
    with pytest.raises(ResumeMismatch, match="seed, batch size"):
        Cursor(samples_consumed=8, fingerprint="a" * 32).step(8, "b" * 32)
    with pytest.raises(ConfigError, match="multiple of the batch size 8"):
        Cursor(samples_consumed=9, fingerprint="a" * 32).step(8, "a" * 32)


@pytest.mark.parametrize(("field", "value"), [("batch_size", 0), ("lanes", 3), ("window", 0)])
def test_bad_configuration_is_named(field: str, value: int) -> None:
    good = {"seed": 0, "batch_size": 8, "lanes": 4, "window": 16}
    with pytest.raises(ConfigError, match=r"batch_size|lanes|window"):
        OrderConfig(**{**good, field: value})


def test_fewer_samples_than_lanes_is_refused() -> None:
    with pytest.raises(ConfigError, match="number of samples 3"):
        StreamOrder([1, 2], OrderConfig(seed=0, batch_size=8, lanes=4, window=2))
