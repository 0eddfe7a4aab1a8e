"""The plan of a training job: everything is looked at, nothing is written."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.models import num_parameters
from pipeline.order import StreamOrder, default_lanes
from pipeline.plans.commands import parse_train
from pipeline.plans.presets import PRESETS, preset
from pipeline.plans.train_plan import TrainPlan, plan_training


def planned(data: str, run: Path, *flags: str, name: str = "digits") -> TrainPlan:
    return plan_training(parse_train([name, "--data", data, "--run-dir", str(run), *flags]).job)


@pytest.mark.parametrize("name", PRESETS)
def test_a_plan_describes_the_job_and_writes_nothing(data: str, tmp_path: Path, name: str) -> None:
    plan = planned(data, tmp_path / "run", name=name)
    told = dict(plan.describe())
    assert told["run"] == f"{tmp_path / 'run'} (new)"
    assert told["data"].startswith("1,797 samples in 4 shards, ")
    assert told["steps"].startswith(f"{preset(name).steps:,} of batch {preset(name).stream.batch_size}: ")
    workers = preset(name).workers
    assert told["workers"] == f"{workers.num_workers} trainers, {workers.num_loaders} loaders"
    assert told["model"].startswith(f"{preset(name).model.family_name}, {num_parameters(preset(name).model):,} parameters")
    assert told["decoding"].startswith("up to 2.5 GB more in a loader")
    assert all(text and "\n" not in text for text in told.values())
    assert not (tmp_path / "run").exists()


def test_the_limit_on_pixels_is_stated_reaches_the_loaders_and_belongs_to_the_run(data: str, tmp_path: Path) -> None:
    plan = planned(data, tmp_path / "run", "--stream.max-pixels", "400000000")
    assert dict(plan.describe())["decoding"].startswith("up to 11.2 GB more in a loader")
    assert plan.image.max_pixels == plan.identity["stream"]["max_pixels"] == 400_000_000
    with pytest.raises(ConfigError, match="image of 8x8 pixels, at most 60 are decoded"):
        planned(data, tmp_path / "run", "--stream.max-pixels", "60")


def test_a_run_may_be_continued_with_or_without_compiling(data: str, tmp_path: Path) -> None:
    plain, compiled = planned(data, tmp_path / "run"), planned(data, tmp_path / "run", "--optim.compiled")
    assert compiled.config.optim.compiled
    assert compiled.identity == plain.identity
    assert planned(data, tmp_path / "run", "--optim.precision", "bf16").identity != plain.identity


def test_the_order_is_that_of_the_index(data: str, tmp_path: Path) -> None:
    plan = planned(data, tmp_path / "run", "--seed", "5", "--batch-size", "48")
    assert isinstance(plan.order, StreamOrder)
    config = plan.order.config
    assert (config.seed, config.batch_size, config.lanes, config.window) == (5, 48, default_lanes(48, 1797), 256)
    assert plan.order.counts.tolist() == [s.num_samples for s in plan.index.shards] == [500, 500, 500, 297]
    seen = np.concatenate([plan.order.rows(step).sample for step in range(-(-1797 // 48))])
    assert len(set(seen.tolist())) >= 1797 - 48  # one epoch, up to the batch at its border
    assert (plan.image.size, plan.image.channels, plan.image.num_classes) == (8, 1, 10)


def test_fingerprint_moves_with_what_decides_the_order(data: str, tmp_path: Path) -> None:
    flags = [(), ("--seed", "1"), ("--batch-size", "32"), ("--stream.window", "9"), ("--stream.lanes", "2")]
    assert len({planned(data, tmp_path / "run", *given).fingerprint for given in flags}) == len(flags)
    assert planned(data, tmp_path / "a", "--steps", "7").fingerprint == planned(data, tmp_path / "b").fingerprint


@pytest.mark.parametrize(
    ("batch_size", "samples", "lanes"), [(64, 10**6, 16), (64, 10, 8), (60, 10**6, 15), (7, 100, 7), (17, 100, 1), (3, 2, 1)]
)
def test_default_lanes_are_the_largest_divisor_that_fits(batch_size: int, samples: int, lanes: int) -> None:
    assert default_lanes(batch_size, samples) == lanes


@pytest.mark.parametrize(("missing", "flag"), [("data", "--data"), ("run_dir", "--run-dir")])
def test_a_missing_flag_is_named(data: str, tmp_path: Path, missing: str, flag: str) -> None:
    config = replace(preset("digits"), data=data, run_dir=str(tmp_path))
    with pytest.raises(ConfigError, match=f"{flag} is missing; expected a path or URL"):
        plan_training(replace(config, **{missing: ""}))


def one_shard(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return str(path)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 7).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"png": png()}, "label"),
        ({"png": png(), "cls": b"10"}, r"classes 0 to 9, got label 10 in sample '00' of .*\.tar"),
        ({"png": png()[:40], "cls": b"1"}, r"\.tar at byte 0"),
        ({"png": b"", "cls": b"1"}, "0 bytes"),
        ({"cls": b"1"}, "image"),
        ({"png": png(), "cls": b"one"}, "one"),
    ],
    ids=["no label", "label too high", "cut image", "empty image", "no image", "label in words"],
)
def test_data_that_the_model_cannot_learn_from_is_refused_at_its_first_sample(
    tmp_path: Path, fields: dict[str, bytes], says: str
) -> None:
    members = {f"{i:02d}.{field}": data for i in range(70) for field, data in fields.items()}
    with pytest.raises(ConfigError, match=says) as refused:
        planned(one_shard(tmp_path / "a.tar", members), tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_more_lanes_than_samples_are_refused(tmp_path: Path) -> None:
    shard = one_shard(tmp_path / "a.tar", {"0.png": png(), "0.cls": b"1"})
    with pytest.raises(ConfigError, match="lanes must be at most the number of samples 1, got 4"):
        planned(shard, tmp_path / "run", "--stream.lanes", "4")
