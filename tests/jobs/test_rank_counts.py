"""Randomness belongs to the sample: through Ray Train, one rank and four ranks with the same global batch learn alike."""

from pathlib import Path

import pytest
from conftest import BATCH_SIZE
from job_runs import Place

from pipeline.checkpoints import latest_good, load_training

STEPS = 12


def history(run: Path) -> list[tuple[int, float]]:
    """Loss of the first steps, each as mean over the global batch."""
    checkpoint = latest_good(str(run))
    assert checkpoint is not None
    return load_training(checkpoint).history[:STEPS]


def test_one_rank_and_four_ranks_have_the_same_losses_step_by_step(
    alone: Place, shards: Path, trained: Path, tmp_path: Path
) -> None:
    """One rank is the undisturbed training of the other tests: its first steps do not know how many will follow."""
    flags = ("--steps", STEPS, "--batch-size", BATCH_SIZE, "--num-workers", 4, "--log-every-steps", 1)
    ended = alone.run("train.py", "digits", *flags, "--data", shards, "--run-dir", tmp_path)
    assert ended.code == 0, ended
    one, four = history(trained), history(tmp_path)
    assert [step for step, _ in one] == [step for step, _ in four] == list(range(1, STEPS + 1))
    assert [loss for _, loss in four] == pytest.approx([loss for _, loss in one], rel=2e-4)
    assert one[-1][1] < 0.9 * one[0][1]  # something was learned in between
