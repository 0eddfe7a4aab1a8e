"""Steps and pictures that cannot be shown are refused before anything is read."""

import shutil
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, TransientStorageError
from pipeline.plans.commands import parse_train
from pipeline.plans.train_plan import plan_training
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


@pytest.mark.parametrize(("name", "at"), [("index.offsets.npy", 128), ("index.offsets.npy", 170), ("index.xxh3.npy", 170)])
def test_damaged_input_is_the_users_to_mend_as_where_training_is_planned(data: str, tmp_path: Path, name: str, at: int) -> None:
    folder = shutil.copytree(data, tmp_path / "data")
    content = bytearray((folder / name).read_bytes())
    content[at] ^= 1
    (folder / name).write_bytes(content)
    config = parse_train(["digits", "--data", str(folder), "--run-dir", str(tmp_path / "run")]).job
    for plan in (plan_training, lambda config: seen_step(config, 1)):
        with pytest.raises(ConfigError, match=rf"sidecar.*; jobs/index\.py indexes the shards again .*{name}"):
            plan(config)


def test_a_store_that_does_not_answer_is_no_mistake_in_the_input(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*args: object) -> None:
        raise TransientStorageError("no answer", "s3://b/x")

    monkeypatch.setattr("pipeline.plans.which_plan.read_samples", silent)
    config = parse_train(["digits", "--data", data, "--run-dir", str(tmp_path)]).job
    with pytest.raises(TransientStorageError):
        seen_step(config, 1)
