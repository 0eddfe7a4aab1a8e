"""The loop: where it starts, where it ends, what it reports, and that it learns."""

from collections.abc import Iterator

import pytest
import torch
from training_problems import digits, endless, everything, new_state

from pipeline.training import Batch, OptimConfig, StepResult, train_steps


def run(steps: int, *, asked: list[int] | None = None, stop_at: int | None = None) -> list[StepResult]:
    state = new_state()

    def may_start(step: int) -> bool:
        if asked is not None:
            asked.append(step)
        return stop_at is None or step < stop_at

    return list(train_steps(state, state.network, endless(4), steps=steps, seed=0, may_start=may_start))


def test_steps_are_counted_from_one_to_the_last() -> None:
    results = run(3)
    assert [(r.step, r.images) for r in results] == [(1, 4), (2, 4), (3, 4)]
    assert all(r.wait_s >= 0 and r.step_s > 0 and r.loss.ndim == 0 and not r.loss.requires_grad for r in results)


@pytest.mark.parametrize("stop_at", [0, 1, 3])
def test_the_loop_ends_before_the_step_that_may_not_start(stop_at: int) -> None:
    asked: list[int] = []
    results = run(10, asked=asked, stop_at=stop_at)
    assert [r.step for r in results] == list(range(1, stop_at + 1))
    assert asked == list(range(stop_at + 1))


def test_nobody_is_asked_about_steps_after_the_last() -> None:
    asked: list[int] = []
    run(2, asked=asked)
    assert asked == [0, 1]


def test_no_batch_is_taken_that_is_not_trained_on() -> None:
    """A feed that ends with the run's last batch is enough, and a stopped run leaves the rest of it untouched."""
    state, given = new_state(), list[int]()

    def three() -> Iterator[Batch]:
        for number in range(3):
            given.append(number)
            yield digits(4, first=4 * number)

    list(train_steps(state, state.network, three(), steps=2, seed=0))
    assert given == [0, 1]


def test_a_run_cut_in_two_is_the_run_in_one() -> None:
    whole, cut = new_state(), new_state()
    list(train_steps(whole, whole.network, endless(4), steps=5, seed=0))
    list(train_steps(cut, cut.network, endless(4), steps=5, seed=0, may_start=lambda step: step < 2))
    assert cut.step == 2
    list(train_steps(cut, cut.network, endless(4, first=8), steps=5, seed=0))
    expected, got = everything(whole), everything(cut)
    assert all(torch.equal(got[name], value) for name, value in expected.items())


def test_a_finished_run_takes_no_further_step() -> None:
    state = new_state()
    list(train_steps(state, state.network, endless(4), steps=1, seed=0))
    assert list(train_steps(state, state.network, endless(4), steps=1, seed=0)) == []


def test_loss_falls_on_sixteen_digits() -> None:
    optim = OptimConfig(learning_rate=5e-3, warmup_steps=10)
    state = new_state(optim)

    def again() -> Iterator[Batch]:
        epoch = 0
        while True:
            yield digits(16, epoch=epoch)
            epoch += 1

    losses = [float(r.loss) for r in train_steps(state, state.network, again(), steps=90, seed=0)]
    first, last = sum(losses[:20]) / 20, sum(losses[-20:]) / 20
    assert last < 0.7 * first
