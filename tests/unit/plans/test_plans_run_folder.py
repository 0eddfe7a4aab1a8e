"""A run folder belongs to one run: what may change when it is continued, and what may not."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_leaves import leaves, with_leaf

from pipeline.errors import ConfigError, ResumeMismatch
from pipeline.plans.commands import parse_train
from pipeline.plans.presets import preset
from pipeline.plans.run_folder import check_run_folder, differences, write_run_config
from pipeline.plans.train_config import TrainConfig
from pipeline.plans.train_plan import plan_training
from pipeline.shards import open_source, pack

CONFIG = preset("digits").to_json()
IDENTITY: dict[str, Any] = {
    "data": {"fingerprint": "f" * 32, "samples": 1797, "shards": 4},
    **{name: CONFIG[name] for name in ("model", "stream", "optim", "seed")},
}
# What may differ between two commands that continue one run. Everything else decides what is learned.
FREE = {"data", "run_dir", "steps", "checkpoint_every_s", "keep_checkpoints", "metrics_port", "preset", "workers"}
FREE |= {"log_every_steps", "snapshot_every_steps"}


def other(value: Any) -> Any:
    """A value of the same kind that is another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, 1]
    return f"{value}x"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(leaves(IDENTITY))))
def test_any_other_leaf_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    write_run_config(str(folder), IDENTITY, {})
    changed = with_leaf(IDENTITY, name, other(leaves(IDENTITY)[name]))
    assert check_run_folder(str(folder), IDENTITY)
    for refuse in (lambda: check_run_folder(str(folder), changed), lambda: write_run_config(str(folder), changed, {})):
        with pytest.raises(ResumeMismatch, match=rf"belongs to another run: {name} is .* now, .* there") as refused:
            refuse()
        assert str(folder) in str(refused.value)
    assert json.loads((folder / "config.json").read_text())["identity"] == IDENTITY


def test_every_field_of_a_job_is_part_of_the_run_or_free(data: str, tmp_path: Path) -> None:
    """A new field must be put on one of the two sides, on purpose."""
    plan = plan_training(parse_train(["digits", "--data", data, "--run-dir", str(tmp_path / "run")]).job)
    identity = set(plan.identity)
    assert {f.name for f in fields(TrainConfig)} == (identity - {"data"}) | FREE
    assert identity & FREE == {"data"}  # the shards themselves count, not where they lie


def claimed(data: str, run: Path) -> list[str]:
    """The command line of a run that has begun."""
    command = ["digits", "--data", data, "--run-dir", str(run)]
    plan = plan_training(parse_train(command).job)
    assert not plan.continues
    write_run_config(plan.config.run_dir, plan.identity, plan.config.to_json())
    return command


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--steps 9999",
        "--num-workers 4 --num-loaders 3",
        "--workers.prefetch-batches 9 --workers.max-failures 0 --workers.cpus-per-worker 2",
        "--checkpoint-every-s 1 --keep-checkpoints 9 --metrics-port 1234 --log-every-steps 1 --snapshot-every-steps 5",
    ],
)
def test_what_does_not_change_the_result_may_change(data: str, tmp_path: Path, flags: str) -> None:
    command = claimed(data, tmp_path / "run")
    assert plan_training(parse_train([*command, *flags.split()]).job).continues


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("--seed 1", "seed"),
        ("--batch-size 32", "stream.batch_size"),
        ("--stream.window 99", "stream.window"),
        ("--stream.lanes 4", "stream.lanes"),
        ("--optim.learning-rate 0.5", "optim.learning_rate"),
        ("--optim.betas 0.5 0.6", "optim.betas"),
        ("--model.image.num-classes 11", "model.image.num_classes"),
        ("--model.family.schedule linear", "model.family.schedule"),
        ("--model.family.bin-width None", "model.family.bin_width"),
        ("--model.network.attention False True", "model.network.attention"),
    ],
)
def test_what_changes_the_result_may_not(data: str, tmp_path: Path, flags: str, name: str) -> None:
    command = claimed(data, tmp_path / "run")
    with pytest.raises(ResumeMismatch, match=rf"another run: {name} is "):
        plan_training(parse_train([*command, *flags.split()]).job)


def test_other_data_is_refused_and_the_same_data_elsewhere_is_not(data: str, tmp_path: Path) -> None:
    command = claimed(data, tmp_path / "run")
    pack(open_source("digits"), str(tmp_path / "same"))
    pack(open_source("digits", seed=1), str(tmp_path / "other"))
    assert plan_training(parse_train([*command, "--data", str(tmp_path / "same")]).job).continues
    with pytest.raises(ResumeMismatch, match=r"another run: data\.fingerprint is "):
        plan_training(parse_train([*command, "--data", str(tmp_path / "other")]).job)


@pytest.mark.parametrize("content", [b"no json", b"[]", b"{}", b"3", bytes(range(200, 256))])
def test_a_folder_whose_configuration_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"expected the configuration of a run in .*config\.json, got "):
        check_run_folder(str(tmp_path), IDENTITY)


def test_differences_go_both_ways_and_into_depth() -> None:
    here, there = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 2, "d": 4}, "e": 5}
    assert list(differences(here, there)) == [("a", 1, None), ("b.d", 3, 4), ("e", None, 5)]
    assert list(differences(here, here)) == []
