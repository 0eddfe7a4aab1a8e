"""Passes over epochs that are no multiple of the batch: what the body of a loop is told is of the pass that it is in."""

from collections.abc import Iterator

from pipeline.runtime.passes import Passes


def delivered(passes: Passes) -> Iterator[int]:
    """The batches of a pass, counted before the loop's body has them."""
    for _ in passes.one_pass():
        passes.step += 1
        yield passes.step - 1


def test_all_batches_of_a_pass_are_of_its_epoch_the_last_one_too() -> None:
    passes, lengths, steps = Passes(100, 8), [], []
    for epoch in range(4):
        assert passes.epoch == epoch
        lengths.append(passes.num_batches)
        told = set()
        for step in delivered(passes):
            steps.append(step)
            told.add((passes.epoch, passes.num_batches))
        assert told == {(epoch, lengths[-1])}
    assert lengths == [13, 12, 13, 12]
    assert steps == list(range(50))


def test_a_pass_that_is_left_goes_on_in_its_epoch_and_after_its_last_batch_in_the_next() -> None:
    passes = Passes(100, 8)
    for step in delivered(passes):
        if step == 4:
            break
    assert (passes.epoch, passes.num_batches) == (0, 13)
    for step in delivered(passes):
        if step == passes.num_batches - 1:
            break
    assert (passes.step, passes.epoch, passes.num_batches) == (13, 1, 12)


def test_a_position_that_is_loaded_counts_at_once_and_the_pass_ends_with_its_epoch() -> None:
    passes, seen = Passes(100, 8), []
    for step in delivered(passes):
        seen.append((step, passes.epoch))
        if step == 1:
            passes.load(23)
            assert (passes.epoch, passes.num_batches) == (1, 12)
    assert seen == [(0, 0), (1, 0), (23, 1), (24, 1)]
    passes.load(0)
    assert passes.epoch == 0


def test_a_pass_that_is_still_referred_to_ends_no_other() -> None:
    passes = Passes(100, 8)
    left = delivered(passes)
    assert [next(left) for _ in range(13)][-1] == 12  # it does not know yet that this was its last batch
    assert passes.epoch == 0
    other = delivered(passes)
    assert (next(other), passes.epoch) == (13, 1)
    assert list(left) == []
    assert passes.epoch == 1
    assert len(list(other)) == 11
    assert passes.epoch == 2


def test_fewer_samples_than_a_batch_leave_out_the_epochs_that_no_batch_begins_in() -> None:
    passes, seen = Passes(3, 8), []
    for _ in range(3):
        seen.append((passes.epoch, passes.num_batches, list(delivered(passes))))
    assert seen == [(0, 1, [0]), (2, 1, [1]), (5, 1, [2])]
