"""What a cluster is asked for, and how fast a job went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.cpu_shares import RAY_CPU_UNIT, sharing_factor
from pipeline.runtime.hub import HubView, value_of
from pipeline.runtime.train_pace import TrainPace
from pipeline.telemetry import (
    IMAGES_STREAMED,
    IMAGES_TRAINED,
    TRAIN_LOSS,
    TRAIN_STEP,
    TRAIN_STEP_SECONDS,
    TRAINER_DATA_WAIT_SECONDS,
)

KINDS = st.lists(st.tuples(st.integers(1, 64), st.floats(0.01, 32)), min_size=1, max_size=3)


def as_ray_counts(cpus: float) -> int:
    """A reservation in Ray's unit, rounded half up as Ray does."""
    return int(cpus / RAY_CPU_UNIT + 0.5)


@given(wanted=KINDS, available=st.integers(1, 256))
def test_all_reservations_fit_and_little_is_left_over(wanted: list[tuple[int, float]], available: int) -> None:
    factor = sharing_factor(wanted, [float(available)])
    demand = sum(count * cpus for count, cpus in wanted)
    assert 0 <= factor <= 1
    if demand <= available:
        assert factor == 1
        return
    taken = sum(count * as_ray_counts(cpus * factor) for count, cpus in wanted)
    processes = sum(count for count, _ in wanted)
    assert taken <= as_ray_counts(available)
    assert taken >= as_ray_counts(available) - 2 * processes


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [
        ([(2, 1.0), (2, 1.0)], 2.0, 0.4999),
        ([(2, 1.0), (2, 1.0)], 4.0, 1.0),
        ([(1, 8.0)], 2.0, 0.2499875),
        ([(4, 1.0)], 0.0, 1.0),  # a cluster without CPUs so far: ask for what is wanted, and wait
        ([(20000, 1.0)], 1.0, 0.0),
        ([(1, 2.0)], [1.0, 1.0], 0.5),
        ([(5, 1.0)], [2.0, 2.0], 0.6666),  # three on one node, two on the other
    ],
)
def test_sharing_by_example(wanted: list[tuple[int, float]], available: float | list[float], expected: float) -> None:
    nodes: list[float] = [*available] if isinstance(available, list) else [available]
    # On several nodes a good share is enough.
    least = expected if len(nodes) == 1 else 0.94 * expected
    assert least - 1e-6 <= sharing_factor(wanted, nodes) <= expected + 1e-3


@given(wanted=KINDS, nodes=st.lists(st.integers(1, 64), min_size=1, max_size=6))
def test_every_process_finds_room_on_a_node(wanted: list[tuple[int, float]], nodes: list[int]) -> None:
    factor = sharing_factor(wanted, [float(cpus) for cpus in nodes])
    free = [as_ray_counts(cpus) for cpus in nodes]
    for size in sorted((as_ray_counts(cpus * factor) for count, cpus in wanted for _ in range(count)), reverse=True):
        best = free.index(max(free))
        free[best] -= size
    assert min(free) >= 0


def view(*, step: int, trained: int, streamed: int, loss: float | None = None, wait_s: float = 0, busy_s: float = 0) -> HubView:
    values = {
        str(TRAIN_STEP.series()): float(step),
        str(IMAGES_TRAINED.series()): float(trained),
        str(IMAGES_STREAMED.series()): float(streamed),
        str(TRAINER_DATA_WAIT_SECONDS.series()): wait_s,
        str(TRAIN_STEP_SECONDS.series()): busy_s,
    }
    return HubView(values if loss is None else {**values, str(TRAIN_LOSS.series()): loss}, [])


def test_there_is_no_point_before_the_first_step() -> None:
    pace = TrainPace(100)
    assert pace.point(HubView({}, [])) is None
    assert (pace.trained_per_s, pace.streamed_per_s, pace.wait_share) == (0.0, 0.0, 0.0)


def test_a_point_tells_where_the_job_is_and_never_beyond_its_end() -> None:
    pace = TrainPace(100)
    first = pace.point(view(step=10, trained=640, streamed=700))
    assert first is not None
    assert (first.done, first.total, first.loss) == (10, 100, None)
    last = pace.point(view(step=120, trained=1280, streamed=1400, loss=0.25, wait_s=1, busy_s=3))
    assert last is not None
    assert (last.done, last.loss, last.data_wait_share) == (100, 0.25, 0.25)
    assert pace.wait_share == 0.25


def test_the_rate_counts_what_this_job_did_and_not_what_was_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0, 115.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    pace = TrainPace(100)
    pace.point(view(step=50, trained=3200, streamed=0))
    assert pace.trained_per_s == 0.0
    pace.point(view(step=60, trained=3840, streamed=320))
    assert (pace.trained_per_s, pace.streamed_per_s) == (64.0, 32.0)
    last = pace.point(view(step=70, trained=4480, streamed=640))
    assert last is not None
    assert last.images_per_s == pytest.approx(1280 / 15)


def test_a_run_too_short_for_two_looks_has_the_rate_of_its_trainers_own_time() -> None:
    pace = TrainPace(100, num_workers=2)
    point = pace.point(view(step=100, trained=640, streamed=700, wait_s=1, busy_s=3))
    assert point is not None
    assert point.images_per_s == pace.trained_per_s == 320.0
    assert pace.streamed_per_s == 350.0


def test_a_number_that_is_not_there_has_a_default() -> None:
    assert value_of({}, TRAIN_STEP.series()) == 0.0
    assert value_of({}, TRAIN_STEP.series(), 7.0) == 7.0
    assert value_of({str(TRAIN_STEP.series()): 3.0}, TRAIN_STEP.series(), 7.0) == 3.0
