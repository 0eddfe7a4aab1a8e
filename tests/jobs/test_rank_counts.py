"""Randomness belongs to the sample: through Ray Train, one rank and four ranks with the same global batch learn alike."""

from pathlib import Path

import pytest
from job_runs import Place

from pipeline.checkpoints import latest_good, load_training

STEPS = 12


def history(place: Place, shards: Path, run: Path, ranks: int) -> list[tuple[int, float]]:
    """Loss of every step, as mean over the global batch."""
    flags = ("--steps", STEPS, "--batch-size", 64, "--num-workers", ranks, "--log-every-steps", 1)
    ended = place.run("train.py", "digits", *flags, "--data", shards, "--run-dir", run)
    assert ended.code == 0, ended
    checkpoint = latest_good(str(run))
    assert checkpoint is not None
    return load_training(checkpoint).history


def test_one_rank_and_four_ranks_have_the_same_losses_step_by_step(alone: Place, shards: Path, tmp_path: Path) -> None:
    one, four = (history(alone, shards, tmp_path / str(ranks), ranks) for ranks in (1, 4))
    assert [step for step, _ in one] == [step for step, _ in four] == list(range(1, STEPS + 1))
    assert [loss for _, loss in four] == pytest.approx([loss for _, loss in one], rel=2e-4)
    assert one[-1][1] < 0.9 * one[0][1]  # something was learned in between
