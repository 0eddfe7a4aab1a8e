"""The pace at which a store is asked: doubled by complaints, once an interval, and recovering with good answers."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage.pace import LONGEST_S, SHORTEST_S, Pace, Paces


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_store_that_never_complains_is_never_waited_for():
    pace = Pace(Clock())
    assert [pace.reserve() for _ in range(100)] == [0.0] * 100


def test_complaints_of_one_moment_count_once():
    clock = Clock()
    pace = Pace(clock)
    for _ in range(50):  # fifty threads are refused at the same time
        pace.slow_down()
    assert pace.interval_s == SHORTEST_S
    clock.now += 1.5 * SHORTEST_S
    pace.slow_down()
    assert pace.interval_s == 2 * SHORTEST_S


def test_requests_stand_an_interval_apart():
    pace = Pace(Clock())
    pace.slow_down()
    waits = [pace.reserve() for _ in range(5)]
    assert waits == sorted(waits)
    assert all(abs(wait - number * SHORTEST_S) < 1e-9 for number, wait in enumerate(waits))


def test_a_wish_for_later_holds_for_all():
    clock = Clock()
    pace = Pace(clock)
    pace.slow_down(retry_after_s=3.0)
    assert pace.reserve() == 3.0
    clock.now += 10.0
    assert pace.reserve() == 0.0
    pace.slow_down(retry_after_s=1e9)
    assert pace.reserve() <= 10 * LONGEST_S


@given(st.lists(st.tuples(st.sampled_from(["slow", "good", "ask"]), st.floats(0, 10)), max_size=200))
def test_the_interval_is_bounded_and_recovers(events: list[tuple[str, float]]):
    clock = Clock()
    pace = Pace(clock)
    for what, passed in events:
        clock.now += passed
        if what == "slow":
            pace.slow_down()
        elif what == "good":
            pace.recover()
        else:
            assert 0 <= pace.reserve() <= LONGEST_S * len(events)
        assert pace.interval_s == 0 or SHORTEST_S / 2 <= pace.interval_s <= LONGEST_S
    for _ in range(33):
        pace.recover()
    assert pace.interval_s == 0


def test_every_bucket_and_server_has_its_own_pace():
    paces = Paces(Clock())
    paces.of("s3://a/x").slow_down()
    assert paces.of("s3://a/other/y").interval_s > 0
    assert paces.of("s3://b/x").interval_s == 0
    assert paces.of("http://a/x").interval_s == 0
