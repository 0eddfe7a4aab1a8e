"""No output lies where training writes and removes: refused before any work, only where files of training prove it."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.plans.commands import parse_train
from pipeline.plans.foreign_folder import refuse_foreign
from pipeline.plans.run_folder import CONFIG_NAME, write_run_config
from pipeline.plans.train_plan import plan_training
from pipeline.samples import SampleSet

STEP = "step-000000001"


@pytest.fixture
def training(run: str, tmp_path: Path) -> Path:
    """A run folder as training leaves it: its configuration and a checkpoint."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    write_run_config(str(folder), {"seed": 0}, {"steps": 1})
    return folder


@pytest.mark.parametrize(
    ("below", "says"),
    [
        ("", "the folder of a training run"),
        ("checkpoints", "in checkpoints/ of the training run"),
        ("checkpoints/mine", "in checkpoints/ of the training run"),
        (f"checkpoints/{STEP}", "in checkpoints/ of the training run"),
        (f"checkpoints/{STEP}/samples", "in checkpoints/ of the training run"),
        ("checkpoints/step-000000002/samples", "in checkpoints/ of the training run"),
        ("snapshots/samples", "in snapshots/ of the training run"),
    ],
)
def test_an_output_that_is_a_runs_own_is_refused(training: Path, below: str, says: str) -> None:
    output = str(training / below) if below else str(training)
    with pytest.raises(ConfigError, match=rf"--output: got {output}, which is {says}.*; expected a folder of its own"):
        refuse_foreign(output)


@pytest.mark.parametrize(
    ("below", "says"),
    [
        ("mine", "the folder of a checkpoint"),
        ("mine/samples", "in the checkpoint .*/mine"),
        (f"{STEP}/unet/samples", f"in the checkpoint .*/{STEP}"),
    ],
)
def test_a_checkpoint_without_its_run_is_known_by_its_record(run: str, tmp_path: Path, below: str, says: str) -> None:
    shutil.copytree(Path(run) / "checkpoints" / STEP, tmp_path / below.partition("/")[0])
    with pytest.raises(ConfigError, match=rf"which is {says}; expected"):
        refuse_foreign(str(tmp_path / below))


@pytest.mark.parametrize("output", ["run/samples", "run-samples", ".", "checkpoints", "checkpoints/mine", f"{STEP}/a", "x"])
def test_what_nothing_of_training_proves_is_not_refused(training: Path, tmp_path: Path, output: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / CONFIG_NAME).write_text('{"_class_name": "UNet2DModel"}')
    (tmp_path / "x" / "checkpoint.json").write_text('{"mine": 1}')
    (tmp_path / CONFIG_NAME).write_text("no JSON")
    refuse_foreign(str((tmp_path / output).resolve()))


def test_a_set_that_was_begun_there_goes_on(training: Path) -> None:
    SampleSet(str(training)).open({"generation": {"seed": 0}}, num_samples=8)
    refuse_foreign(str(training))


def test_what_training_itself_writes_is_known(data: str, tmp_path: Path) -> None:
    plan = plan_training(parse_train(["digits", "--data", data, "--run-dir", str(tmp_path / "run")]).job)
    write_run_config(plan.config.run_dir, plan.identity, plan.config.to_json())
    assert json.loads((tmp_path / "run" / CONFIG_NAME).read_text()).keys() == {"identity", "config"}
    with pytest.raises(ConfigError, match="the folder of a training run"):
        refuse_foreign(str(tmp_path / "run"))


def test_a_store_is_asked_few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = storage.read_bytes
    monkeypatch.setattr(storage, "read_bytes", lambda url: (asked.append(url), read(url))[1])
    refuse_foreign("memory://bucket/a/b/c/d/e/samples")
    assert len(asked) == 3, asked
