"""When a call is overdue: after many times what parts take, never before the floor, and never for what the driver slept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.generation import PartDeadline
from pipeline.generation.part_deadline import FIRST_PART_S, LONGEST_LOOK_S, SLOWEST_PARTS

FLOOR_S = 600.0


class Watch:
    """A deadline that is looked at every second or so."""

    def __init__(self, floor_s: float = FLOOR_S, part_rows: int = 1000, batch_rows: int = 100) -> None:
        self.deadline = PartDeadline(floor_s, part_rows, batch_rows)
        self.images, self._now_s = 0, 5000.0  # a monotonic clock starts anywhere
        self.deadline.look(self._now_s, 0)

    def wait(self, seconds: float, look_every_s: float = 1.0) -> None:
        end_s = self._now_s + seconds
        while self._now_s < end_s:
            self._now_s = min(end_s, self._now_s + look_every_s)
            self.deadline.look(self._now_s, self.images)


def test_before_any_part_is_made_an_hour_without_an_image_is_too_long() -> None:
    watch = Watch()
    watch.wait(FIRST_PART_S)
    assert not watch.deadline.overdue(0)
    watch.images = 100  # somebody's first batch: the part is slow, but it comes
    watch.wait(FIRST_PART_S)
    assert not watch.deadline.overdue(0)
    watch.wait(2)
    assert watch.deadline.overdue(0)
    assert not watch.deadline.overdue(watch.deadline.clock_s - 60)


def test_a_floor_above_an_hour_holds_for_the_first_part_too() -> None:
    watch = Watch(floor_s=2 * FIRST_PART_S)
    watch.wait(2 * FIRST_PART_S)
    assert not watch.deadline.overdue(0)
    watch.wait(1)
    assert watch.deadline.overdue(0)


def test_fast_parts_leave_the_floor_and_slow_ones_raise_it() -> None:
    watch = Watch()
    watch.wait(3)
    watch.deadline.completed(1000, 0)
    assert watch.deadline.limit_s == FLOOR_S
    watch.wait(97)
    watch.deadline.completed(1000, 0)
    assert watch.deadline.limit_s == SLOWEST_PARTS * 100
    watch.deadline.completed(1000, 99)
    assert watch.deadline.limit_s == SLOWEST_PARTS * 100


def test_images_of_others_excuse_nobody_once_a_part_is_made() -> None:
    watch = Watch()
    watch.deadline.completed(1000, 0)
    for _ in range(int(FLOOR_S)):
        watch.images += 100
        watch.wait(1)
    assert not watch.deadline.overdue(0)
    watch.wait(1)
    assert watch.deadline.overdue(0)
    assert not watch.deadline.overdue(1)


@pytest.mark.parametrize(("rows", "full_parts"), [(1000, 1), (950, 1), (501, 10 / 6), (100, 10), (5, 10)])
def test_a_short_part_counts_for_what_a_full_one_would_have_taken(rows: int, full_parts: float) -> None:
    watch = Watch()
    watch.wait(90)
    watch.deadline.completed(rows, 0)
    assert watch.deadline.limit_s == pytest.approx(SLOWEST_PARTS * 90 * full_parts)


def test_a_driver_that_was_asleep_has_not_waited() -> None:
    watch = Watch()
    watch.deadline.completed(1000, 0)
    watch.wait(36_000, look_every_s=36_000)
    assert watch.deadline.clock_s == LONGEST_LOOK_S
    assert not watch.deadline.overdue(0)


@given(
    took_s=st.lists(st.integers(1, 5000), min_size=1, max_size=20),
    floor_s=st.floats(0.1, 10_000),
    looks_s=st.sampled_from([0.5, 1.0, LONGEST_LOOK_S]),
)
def test_nothing_as_fast_as_ten_of_the_slowest_is_overdue_and_all_else_is_some_day(
    took_s: list[int], floor_s: float, looks_s: float
) -> None:
    watch = Watch(floor_s=floor_s)
    for seconds in took_s:
        began_s = watch.deadline.clock_s
        watch.wait(seconds, looks_s)
        watch.deadline.completed(1000, began_s)
    limit_s, began_s = max(floor_s, SLOWEST_PARTS * max(took_s)), watch.deadline.clock_s
    assert watch.deadline.limit_s == pytest.approx(limit_s)
    assert not watch.deadline.overdue(began_s - 0.999 * limit_s)
    assert watch.deadline.overdue(began_s - 1.001 * limit_s)
