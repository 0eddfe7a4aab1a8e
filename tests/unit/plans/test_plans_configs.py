"""Configurations: presets, what they refuse, and their way through a JSON file."""

import json
import math
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_leaves import leaves, with_leaf, written

from pipeline.errors import ConfigError
from pipeline.models import ImageConfig, ModelConfig, num_parameters
from pipeline.networks import UNetConfig
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.presets import PRESETS, preset
from pipeline.plans.run_folder import write_run_config
from pipeline.plans.train_config import TrainConfig, load_train_config
from pipeline.plans.workers import WorkerConfig
from pipeline.stream import StreamConfig
from pipeline.training import OptimConfig


@st.composite
def train_configs(draw: st.DrawFn) -> TrainConfig:
    num_workers = draw(st.integers(1, 4))
    levels = draw(st.integers(1, 3))
    attention = tuple(draw(st.lists(st.booleans(), min_size=levels, max_size=levels)))
    batch_size = num_workers * 4 * draw(st.integers(1, 64))
    return TrainConfig(
        data=draw(st.text(max_size=10)),
        steps=draw(st.integers(1, 10**9)),
        seed=draw(st.integers(0, 2**62)),
        checkpoint_every_s=draw(st.floats(0.1, 1e6)),
        metrics_port=draw(st.none() | st.integers(0, 65535)),
        model=ModelConfig(
            image=ImageConfig(size=8, channels=draw(st.sampled_from([1, 3])), num_classes=draw(st.integers(0, 999))),
            network=UNetConfig(widths=(32,) * levels, attention=attention),
        ),
        stream=StreamConfig(
            batch_size=batch_size,
            lanes=draw(st.none() | st.just(4)),
            window=draw(st.integers(1, 10**6)),
        ),
        optim=OptimConfig(learning_rate=draw(st.floats(1e-9, 1)), precision=draw(st.sampled_from(["auto", "fp32", "bf16"]))),
        workers=WorkerConfig(num_workers=num_workers, num_loaders=draw(st.integers(1, 9)), share_cpus=draw(st.booleans())),
    )


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=train_configs())
def test_a_saved_configuration_is_read_back_equal(tmp_path: Path, config: TrainConfig) -> None:
    assert load_train_config(written(tmp_path / "config.json", config.to_json())) == config


def test_a_run_folders_configuration_is_read_back_too(tmp_path: Path) -> None:
    config = preset("mnist")
    write_run_config(str(tmp_path), {"seed": 0}, config.to_json())
    assert load_train_config(str(tmp_path / "config.json")) == config


def test_a_configuration_by_hand_may_name_only_what_differs(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.json", {"steps": 7, "optim": {"learning_rate": 1}, "model": {"image": {"size": 8}}})
    config = load_train_config(file)
    assert config == TrainConfig(steps=7, optim=OptimConfig(learning_rate=1.0), model=ModelConfig(image=ImageConfig(size=8)))


@pytest.mark.parametrize("name", sorted(leaves(preset("digits").to_json())))
def test_a_wrong_type_is_named_in_every_field(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / "config.json", with_leaf(preset("digits").to_json(), name, {"wrong": 1}))
    with pytest.raises(ConfigError, match=name.replace(".", r"\.")) as refused:
        load_train_config(file)
    assert file in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", sorted(leaves(preset("digits").to_json())))
def test_an_unknown_field_is_named_with_the_nearest_known_one(tmp_path: Path, name: str) -> None:
    values = with_leaf(preset("digits").to_json(), name + "q", 1)
    with pytest.raises(ConfigError) as refused:
        load_train_config(written(tmp_path / "config.json", values))
    assert f"unknown field {name}q in " in str(refused.value)
    assert f"did you mean {name.rpartition('.')[2]}?" in str(refused.value)


def test_an_unknown_field_like_no_other_lists_them_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown field xyzzy in .*expected one of checkpoint_every_s, data, "):
        load_train_config(written(tmp_path / "config.json", {"xyzzy": 1}))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"steps": "3"}, r"steps: .*integer.*'3'"),
        ({"steps": True}, r"steps: .*integer.*True"),
        ({"steps": 1.5}, r"steps: .*integer.*1\.5"),
        ({"model": 3}, r"model: .*got 3"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"model": {"image": {"channels": 2}}}, "channels must be 1 or 3, got 2"),
        ({"optim": {"precision": "fp8"}}, r"optim\.precision: .*'fp8'"),
        ({"model": {"network": {"widths": [16, "a"]}}}, r"model\.network\.widths\.1: .*'a'"),
        ([1], "expected a JSON object in .*, got list"),
    ],
    ids=str,
)
def test_a_bad_value_is_named_with_its_file(tmp_path: Path, values: object, says: str) -> None:
    file = written(tmp_path / "config.json", values)
    with pytest.raises(ConfigError, match=says) as refused:
        load_train_config(file)
    assert file in str(refused.value)


def test_a_missing_file_and_one_without_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file at .*gone\.json"):
        load_train_config(str(tmp_path / "gone.json"))
    (tmp_path / "bad.json").write_text("{ no")
    with pytest.raises(ConfigError, match=r"expected a JSON object in .*bad\.json"):
        load_train_config(str(tmp_path / "bad.json"))
    (tmp_path / "binary.json").write_bytes(bytes(range(128, 200)))
    with pytest.raises(ConfigError, match=r"expected a JSON object in .*binary\.json"):
        load_train_config(str(tmp_path / "binary.json"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_itself_and_can_be_split_over_two_workers(name: str) -> None:
    config = preset(name)
    assert config.preset == name
    assert config.stream.batch_size % 2 == 0
    assert 10_000 < num_parameters(config.model) < (400_000_000 if name.endswith("-like") else 2_000_000)
    assert json.loads(json.dumps(config.to_json())) == config.to_json()


@pytest.mark.parametrize(
    ("name", "says"),
    [("minst", "did you mean mnist"), ("Digit", "did you mean digits"), ("q", "mnist, mnist-vae, mnist-hvae, ")],
)
def test_an_unknown_preset_is_answered_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown preset '{name}'.*{says}"):
        preset(name)


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        (TrainConfig, {"steps": 0}, "steps must be at least 1, got 0"),
        (TrainConfig, {"seed": -1}, "seed must be at least 0, got -1"),
        (TrainConfig, {"checkpoint_every_s": 0.0}, r"checkpoint_every_s must be above 0, got 0\.0"),
        (TrainConfig, {"keep_checkpoints": 0}, "keep_checkpoints must be at least 1, got 0"),
        (TrainConfig, {"workers": WorkerConfig(num_workers=3)}, "batch size 256 cannot be split over 3 workers"),
        (WorkerConfig, {"num_workers": 0}, "num_workers must be at least 1, got 0"),
        (WorkerConfig, {"num_loaders": 0}, "num_loaders must be at least 1, got 0"),
        (WorkerConfig, {"prefetch_batches": 0}, "prefetch_batches must be at least 1, got 0"),
        (WorkerConfig, {"cpus_per_worker": 0.0}, r"cpus_per_worker must be above 0, got 0\.0"),
        (WorkerConfig, {"cpus_per_loader": -1.0}, r"cpus_per_loader must be above 0, got -1\.0"),
        (WorkerConfig, {"cpus_per_loader": math.nan}, "cpus_per_loader must be above 0, got nan"),
        (WorkerConfig, {"cache_gb": math.nan}, "cache_gb must be above 0, got nan"),
        (WorkerConfig, {"max_failures": -1}, "max_failures must be at least 0, got -1"),
        (StreamConfig, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (StreamConfig, {"batch_size": 2.0}, r"batch_size must be a whole number, got 2\.0"),
        (StreamConfig, {"batch_size": 99_999_999_999}, "batch_size must be at most 1,048,576, got 99,999,999,999"),
        (StreamConfig, {"window": 0}, "window must be at least 1, got 0"),
        (StreamConfig, {"lanes": 3}, "lanes must divide the batch size 256, got 3"),
        (GenerateConfig, {"num_samples": -1}, "num_samples must be at least 1, got -1"),
        (GenerateConfig, {"num_workers": 0}, "num_workers must be at least 1, got 0"),
        (GenerateConfig, {"part_rows": 0}, "part_rows must be at least 1, got 0"),
        (GenerateConfig, {"batch_rows": 0}, "batch_rows must be at least 1, got 0"),
        (GenerateConfig, {"sampler_steps": 0}, "sampler_steps must be at least 1, got 0"),
        (GenerateConfig, {"seed": -1}, "seed must be at least 0, got -1"),
        (GenerateConfig, {"max_part_failures": -1}, "max_part_failures must be at least 0, got -1"),
        (GenerateConfig, {"part_timeout_s": 0.0}, "part_timeout_s must be above 0, got 0.0"),
        (GenerateConfig, {"part_timeout_s": math.nan}, "part_timeout_s must be above 0, got nan"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_bad_field_is_named_with_its_value(kind: type, fields: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        kind(**fields)


def test_a_configuration_may_come_from_a_pipe(tmp_path: Path) -> None:
    """As of `--config <(jq .steps=5 base.json)` in a shell."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    config = preset("digits")
    writer = threading.Thread(target=pipe.write_text, args=(json.dumps(config.to_json()),), daemon=True)
    writer.start()
    assert load_train_config(str(pipe)) == config
    writer.join()
