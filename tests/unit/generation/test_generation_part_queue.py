"""The bookkeeping of a run: whatever happens to its parts, each ends committed or given up, and the run ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.generation import PartQueue
from pipeline.samples import PartRange, PartRecord


def record(first: int, rows: int) -> PartRecord:
    return PartRecord(first=first, rows=rows, size_bytes=1, xxh3_128="a" * 32)


def queue(*parts: PartRange, max_failures: int = 2, max_deaths: int = 5) -> PartQueue:
    return PartQueue(parts, max_failures=max_failures, max_deaths=max_deaths)


@given(
    parts=st.integers(1, 8),
    events=st.lists(st.sampled_from(["done", "short", "failed", "died", "hopeless", "held up"]), max_size=200),
    workers=st.integers(1, 4),
)
def test_every_row_ends_committed_or_given_up(parts: int, events: list[str], workers: int) -> None:
    made = queue(*(PartRange(10 * number, 10) for number in range(parts)))
    flying: list[PartRange] = []
    committed: list[int] = []
    steps = 0
    while not made.finished:
        steps += 1
        assert steps < 2000, "the run never ends"
        while len(flying) < workers and (part := made.take()) is not None:
            flying.append(part)
        assert made.flying_rows == sum(part.rows for part in flying)
        part = flying.pop(0)
        event = events.pop() if events else "done"
        if event in ("done", "short"):
            rows = part.rows if event == "done" else max(1, part.rows // 2)
            made.done(part, record(part.first, rows))
            committed += range(part.first, part.first + rows)
        elif event == "held up":
            made.put_back(part)
        else:
            made.failed(part, event, worker_died=event == "died", hopeless=event == "hopeless")
    lost = [row for part in made.given_up for row in range(part.first, part.first + part.rows)]
    assert sorted(committed + lost) == list(range(10 * parts))


@pytest.mark.parametrize(("died", "tries"), [(False, 3), (True, 6)])
def test_a_part_is_tried_so_often_and_no_more(died: bool, tries: int) -> None:
    made = queue(PartRange(0, 10), PartRange(10, 10))
    seen = 0
    while (part := made.take()) is not None:
        if part.first:
            made.done(part, record(10, 10))
        else:
            seen += 1
            assert made.failed(part, "boom", worker_died=died) == (seen < tries)
    assert seen == tries
    assert made.finished
    assert made.given_up == {PartRange(0, 10): f"failed {tries} times, last: boom"}


def test_what_no_retry_helps_is_given_up_at_once() -> None:
    made = queue(PartRange(0, 10))
    part = made.take()
    assert part is not None
    assert not made.failed(part, "foreign file", hopeless=True)
    assert made.given_up == {part: "failed 1 time, last: foreign file"}


def test_a_part_that_another_job_made_longer_is_done() -> None:
    made = queue(PartRange(20, 5))
    part = made.take()
    assert part is not None
    made.done(part, record(20, 10))
    assert made.finished


def test_a_part_that_is_not_to_blame_is_next_and_loses_no_try() -> None:
    made = queue(PartRange(0, 10), PartRange(10, 10), max_failures=0)
    part, waits = made.take(), made.take()
    assert part is not None
    assert waits is not None
    made.put_back(waits)
    assert (len(made), made.flying_rows) == (1, 10)
    assert not made.failed(part, "hung")
    assert made.take() == waits
    made.done(waits, record(10, 10))
    assert made.finished
    assert list(made.given_up) == [part]
