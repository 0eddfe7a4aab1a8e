"""Parts that kill whatever worker has them: they are given up, and no other part is, however many workers there are."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.generation import LostWorkers, PartQueue
from pipeline.samples import PartRange, PartRecord

CALLS, MAX_DEATHS, MAX_PARTS, MAX_IN_A_ROW = 2, 10, 10, 20


def parts(count: int) -> list[PartRange]:
    return [PartRange(10 * number, 10) for number in range(count)]


class Workers:
    """Workers with two calls each, of which any may be the next to end or to kill, as one samples and the other writes."""

    def __init__(self, count: int, queue: PartQueue, poison: set[PartRange], chance: Random) -> None:
        self._queue, self._poison, self._chance = queue, poison, chance
        self._at: list[list[PartRange]] = [[] for _ in range(count)]
        self.lost, self.made = LostWorkers(MAX_PARTS), set[PartRange]()
        self.worst_in_a_row = 0

    def run(self) -> None:
        while not self._queue.finished:
            self._fill()
            at = self._chance.choice([at for at in self._at if at])
            part = self._chance.choice(at)
            if part in self._poison:
                self._die(at)
            else:
                at.remove(part)
                self._queue.done(part, PartRecord(first=part.first, rows=10, size_bytes=1, xxh3_128="a" * 32))
                self.made.add(part)
                self.lost.done()

    def _fill(self) -> None:
        for at in sorted(self._at, key=len) * CALLS:
            if len(at) == CALLS or any(self._queue.is_alone(part) for part in at):
                continue
            part = self._queue.take(beside_another=bool(at))
            if part is not None:
                assert not at or not self._queue.is_alone(part)
                at.append(part)

    def _die(self, at: list[PartRange]) -> None:
        (first, *_) = at
        self.lost.lost(first if self._queue.is_alone(first) else None)
        self.worst_in_a_row = max(self.worst_in_a_row, self.lost.in_a_row)
        while at:
            self._queue.failed(at.pop(self._chance.randrange(len(at))), "died", worker_died=True)


@given(
    count=st.integers(1, 30),
    poison=st.sets(st.integers(0, 29), max_size=MAX_PARTS),
    workers=st.integers(1, 6),
    chance=st.randoms(use_true_random=False),
)
def test_exactly_the_parts_that_kill_are_given_up(count: int, poison: set[int], workers: int, chance: Random) -> None:
    every = parts(count)
    deadly = {part for part in every if part.first // 10 in poison}
    queue = PartQueue(every, max_failures=3, max_deaths=MAX_DEATHS)
    run = Workers(workers, queue, deadly, chance)
    run.run()
    assert set(queue.given_up) == deadly
    assert run.made == set(every) - deadly
    assert run.worst_in_a_row <= MAX_IN_A_ROW, "the job would have stopped before the rest was made"


def test_a_part_that_was_there_when_a_worker_died_goes_to_one_that_has_no_other() -> None:
    one, two, three = parts(3)
    queue = PartQueue([one, two, three], max_failures=3, max_deaths=MAX_DEATHS)
    assert queue.take() == one
    assert queue.failed(one, "died", worker_died=True)
    assert (queue.take(), queue.take(beside_another=True)) == (two, three)  # others need not wait for it
    assert len(queue) == 1
    assert queue.take(beside_another=True) is None
    assert queue.take() == one
    assert (queue.is_alone(one), queue.is_alone(two)) == (True, False)


@pytest.mark.parametrize("alone", [False, True])
def test_when_every_part_loses_its_worker_it_is_not_the_parts(alone: bool) -> None:
    lost = LostWorkers(MAX_PARTS)
    for number, part in enumerate(parts(40)):
        lost.lost(part if alone else None)
        assert lost.in_a_row == max(0, number + 1 - (MAX_PARTS if alone else 0))
    lost.done()
    assert lost.in_a_row == 0


def lone_worker(count: int, poison: set[int]) -> tuple[PartQueue, LostWorkers, int]:
    """One worker until nothing is left, or until each part that is left lost it; and how often it died."""
    every = parts(count)
    queue, lost, deaths = PartQueue(every, max_failures=3, max_deaths=MAX_DEATHS), LostWorkers(MAX_PARTS), 0
    while not queue.finished and not (deaths > MAX_DEATHS and lost.are_lost_by(queue.left())):
        at = [part for part in (queue.take(),) if part is not None]
        if not queue.is_alone(at[0]):
            at += [part for part in (queue.take(beside_another=True),) if part is not None]
        if {part.first // 10 for part in at} & poison:
            deaths += 1
            lost.lost(at[0] if queue.is_alone(at[0]) else None)
            for part in at:
                queue.failed(part, "died", worker_died=True)
        else:
            for part in at:
                queue.done(part, PartRecord(first=part.first, rows=10, size_bytes=1, xxh3_128="a" * 32))
                lost.done()
    return queue, lost, deaths


@pytest.mark.parametrize(("count", "most"), [(2, 11), (3, 11), (7, 11), (10, 15), (20, 30)])
def test_when_every_part_of_a_small_job_kills_its_worker_it_ends_long_before_their_retries(count: int, most: int) -> None:
    queue, lost, deaths = lone_worker(count, set(range(count)))
    assert deaths == lost.before_any == most
    assert queue.left() == parts(count)


@pytest.mark.parametrize("good", range(11))
def test_a_single_good_part_is_made_among_others_that_kill(good: int) -> None:
    count = 11
    queue, lost, _ = lone_worker(count, set(range(count)) - {good})
    assert set(queue.given_up) == {part for part in parts(count) if part.first != 10 * good}
    assert not lost.are_lost_by(queue.left())


def test_a_job_that_made_a_part_goes_on_though_all_others_kill() -> None:
    lost = LostWorkers(MAX_PARTS)
    lost.done()
    for part in parts(3):
        lost.lost(part)
    assert not lost.are_lost_by(parts(3))
    assert lost.before_any == 0
