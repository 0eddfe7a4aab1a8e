"""Steps and pictures that cannot be shown are refused before anything is read."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.plans.commands import parse_train
from pipeline.plans.which_plan import seen_step


@pytest.mark.parametrize(
    ("step", "columns", "problem"),
    [(0, 1, "step must be at least 1"), (10**20, 1, "step must be at most"), (2**62, 1, "at most"), (1, 0, "columns must be")],
)
def test_what_cannot_be_shown_is_refused(data: str, tmp_path: Path, step: int, columns: int, problem: str) -> None:
    config = parse_train(["digits", "--data", data, "--run-dir", str(tmp_path)]).job
    with pytest.raises(ConfigError, match=problem):
        seen_step(config, step, columns=columns)


def test_the_last_step_that_can_be_named_is_shown(data: str, tmp_path: Path) -> None:
    config = parse_train(["digits", "--data", data, "--run-dir", str(tmp_path)]).job
    assert len(seen_step(config, 2**60 // config.stream.batch_size).rows) == config.stream.batch_size
