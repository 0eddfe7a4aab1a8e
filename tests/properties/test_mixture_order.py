"""Mixtures keep the order's promises: exact proportions, each sample once an epoch of its data set, the same for all worlds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.order import Cursor, MixtureOrder, OrderConfig, StreamOrder, pieces


@st.composite
def mixtures(draw: st.DrawFn) -> MixtureOrder:
    sources = []
    for number in range(draw(st.integers(1, 4))):
        counts = draw(st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(lambda c: sum(c) > 0))
        lanes = draw(st.integers(1, min(4, sum(counts))))
        config = OrderConfig(seed=number, batch_size=lanes, lanes=lanes, window=draw(st.integers(1, 20)))
        sources.append(StreamOrder(counts, config))
    weights = [draw(st.integers(1, 50)) for _ in sources]
    return MixtureOrder(sources, weights, batch_size=draw(st.integers(1, 40)), seed=draw(st.integers(0, 99)))


@given(order=mixtures(), n=st.integers(0, 10**12))
def test_proportions_never_drift(order: MixtureOrder, n: int) -> None:
    whole, k = sum(order.weights), len(order.weights)
    taken, more = order.taken(n), order.taken(n + 1)
    assert sum(taken) == n
    assert sorted(b - a for a, b in zip(taken, more, strict=True)) == [0] * (k - 1) + [1]
    assert all(abs(count - n * weight / whole) < k for count, weight in zip(taken, order.weights, strict=True))
    assert order.taken(n * whole) == [n * weight for weight in order.weights]


@settings(deadline=None)
@given(order=mixtures(), step=st.integers(0, 10**6), ranks=st.integers(1, 5), loaders=st.integers(1, 9))
def test_the_batch_is_the_same_for_all_numbers_of_ranks_and_loaders(
    order: MixtureOrder, step: int, ranks: int, loaders: int
) -> None:
    whole = order.rows(step)
    cut = pieces(order.batch_size, loaders, ranks)
    parts = [order.rows(step, piece.start, piece.stop) for piece in cut]
    for field in ("epoch", "shard", "member", "sample"):
        assert np.array_equal(np.concatenate([getattr(part, field) for part in parts]), getattr(whole, field))


@settings(deadline=None)
@given(order=mixtures())
def test_every_sample_once_an_epoch_of_its_data_set(order: MixtureOrder) -> None:
    seen: Counter[tuple[int, int]] = Counter()
    per_source = [0] * len(order.sources)
    starts = np.cumsum([0, *(source.num_samples for source in order.sources)])
    for step in range(60):
        rows = order.rows(step)
        assert len(rows.sample) == order.batch_size
        for epoch, sample in zip(rows.epoch.tolist(), rows.sample.tolist(), strict=True):
            seen[epoch, sample] += 1
            per_source[int(np.searchsorted(starts, sample, side="right")) - 1] += 1
    assert per_source == order.taken(60 * order.batch_size)
    assert set(seen.values()) == {1}
    for source, first, count in zip(order.sources, starts[:-1].tolist(), per_source, strict=True):
        # Lanes differ by one sample in length and run on alone: an epoch is complete when the longest lane is through it.
        complete = (count // source.num_lanes) // -(-source.num_samples // source.num_lanes)
        for epoch in range(complete):
            assert all(seen[epoch, first + sample] == 1 for sample in range(source.num_samples))


@settings(deadline=None)
@given(order=mixtures(), step=st.integers(0, 10**5))
def test_places_and_segments_hold_exactly_the_rows(order: MixtureOrder, step: int) -> None:
    rows = order.rows(step)
    found: list[tuple[int, int, int]] = []
    for place in order.places(step, 0, order.batch_size):
        assert 0 <= place.lane < order.num_lanes
        segments = order.segments(place.epoch, place.lane, place.span)
        flat = [(segment.shard, member) for segment in segments for member in range(segment.start, segment.stop)]
        assert len(flat) == place.span.length
        found += [(place.epoch, *flat[position]) for position in place.positions.tolist()]
    assert found == list(zip(rows.epoch.tolist(), rows.shard.tolist(), rows.member.tolist(), strict=True))


@given(order=mixtures(), step=st.integers(0, 10**6))
def test_resume_by_cursor_is_the_order_continued(order: MixtureOrder, step: int) -> None:
    fresh = MixtureOrder(order.sources, order.weights, order.batch_size, order.seed)
    cursor = Cursor(samples_consumed=step * order.batch_size, fingerprint=order.fingerprint("index"))
    resumed = cursor.step(fresh.batch_size, fresh.fingerprint("index"))
    assert np.array_equal(fresh.rows(resumed).sample, order.rows(step).sample)


@given(order=mixtures(), epoch=st.integers(0, 5), data=st.data(), attempt=st.integers(0, 3))
def test_a_replacement_comes_from_the_same_data_set(order: MixtureOrder, epoch: int, data: st.DataObject, attempt: int) -> None:
    sample = data.draw(st.integers(0, order.num_samples - 1))
    starts = np.cumsum([source.num_samples for source in order.sources])
    stand_in = order.replacement(epoch, sample, attempt)
    assert np.searchsorted(starts, sample, side="right") == np.searchsorted(starts, stand_in, side="right")


def test_weights_decide_the_fingerprint_and_bad_ones_are_refused() -> None:
    one = StreamOrder([9], OrderConfig(seed=0, batch_size=1, lanes=1, window=3))
    prints = {MixtureOrder([one, one], weights, 4, 0).fingerprint("i") for weights in ([1, 2], [2, 1], [1, 1])}
    assert len(prints) == 3
    for sources, weights in (([], []), ([one], [1, 2]), ([one], [0])):
        with pytest.raises(ConfigError, match="one weight of at least 1"):
            MixtureOrder(sources, weights, 4, 0)
    two = StreamOrder([9], OrderConfig(seed=0, batch_size=4, lanes=2, window=3))
    with pytest.raises(ConfigError, match="one sample from each lane"):
        MixtureOrder([two], [1], 4, 0)
