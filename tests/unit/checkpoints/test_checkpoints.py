"""Checkpoints: whole or not at all, damage found, training continued exactly, and open to diffusers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from pipeline.checkpoints import (
    checkpoint_urls,
    latest_good,
    load_model,
    load_training,
    prune,
    read_record,
    resolve,
    save_checkpoint,
)
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.families import DiffusionConfig
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.order import Cursor
from pipeline.training import Batch, OptimConfig, TrainState
from pipeline.training.loop import train_step

NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)
LABELLED = ModelConfig(image=ImageConfig(size=8, channels=1, num_classes=3), network=NETWORK)
PLAIN = ModelConfig(image=ImageConfig(size=8, channels=1), family=DiffusionConfig(schedule="sigmoid"), network=NETWORK)
OPTIM = OptimConfig(learning_rate=1e-3, warmup_steps=3)


def _batch(step: int) -> Batch:
    draw = np.random.default_rng(step)
    return Batch(
        images=torch.from_numpy(draw.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)),
        labels=torch.from_numpy(draw.integers(0, 3, 4)),
        samples=torch.from_numpy(draw.integers(0, 1000, 4)),
        epochs=torch.zeros(4, dtype=torch.int64),
    )


def _trained(config: ModelConfig, steps: int) -> TrainState:
    state = TrainState(Model(config), OPTIM, torch.device("cpu"))
    for step in range(steps):
        train_step(state, state.network, _batch(step), seed=1)
    return state


def _save(run: Path | str, state: TrainState) -> str:
    return save_checkpoint(
        str(run),
        step=state.step,
        model=state.model,
        averages=state.averages,
        training_tensors=state.tensors(),
        cursor=Cursor(samples_consumed=state.step * 4, fingerprint="f" * 32),
        config={"preset": "test"},
        history=[(1, 0.5)],
    )


def test_training_continued_from_a_checkpoint_equals_training_never_stopped(tmp_path: Path) -> None:
    straight = _trained(LABELLED, 6)
    snapshot = load_training(_save(tmp_path, _trained(LABELLED, 4)))
    resumed = TrainState(Model(LABELLED, init_seed=99), OPTIM, torch.device("cpu"))
    resumed.load(snapshot.tensors, snapshot.averages, snapshot.step, snapshot.url)
    for step in (4, 5):
        train_step(resumed, resumed.network, _batch(step), seed=1)
    expected, got = straight.tensors(), resumed.tensors()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert all(torch.equal(value, resumed.ema[name]) for name, value in straight.ema.items())
    assert (snapshot.cursor.samples_consumed, snapshot.history) == (16, [(1, 0.5)])


def test_loaded_model_has_the_averaged_weights(tmp_path: Path) -> None:
    state = _trained(LABELLED, 3)
    loaded = load_model(_save(tmp_path, state))
    assert loaded.step == 3
    assert all(torch.equal(value, state.ema[name]) for name, value in loaded.model.network.state_dict().items())
    assert any(not torch.equal(value, state.ema[name]) for name, value in state.network.state_dict().items())


def test_digest_is_of_the_sampling_weights_alone(tmp_path: Path) -> None:
    state = _trained(LABELLED, 2)
    first = read_record(_save(tmp_path / "a", state)).digest
    assert read_record(_save(tmp_path / "b", state)).digest == first
    state.optimizer.state.clear()
    assert read_record(_save(tmp_path / "c", state)).digest == first
    next(iter(state.ema.values())).add_(1e-3)
    assert read_record(_save(tmp_path / "d", state)).digest != first


def test_diffusers_opens_the_folder_and_computes_the_same(tmp_path: Path) -> None:
    url = _save(tmp_path, _trained(LABELLED, 2))
    theirs = UNet2DModel.from_pretrained(url, subfolder="unet")
    x, t, y = torch.randn(2, 1, 8, 8), torch.tensor([3, 700]), torch.tensor([0, 3])
    with torch.no_grad():
        expected = theirs(x, t, class_labels=y).sample
        got = load_model(url).model.network(x, t, y)
    assert torch.allclose(expected, got, atol=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
def test_diffusers_scheduler_has_our_schedule(tmp_path: Path, schedule: str) -> None:
    config = ModelConfig(image=PLAIN.image, family=DiffusionConfig(schedule=schedule), network=NETWORK)  # type: ignore[arg-type]
    state = _trained(config, 1)
    theirs: Any = DDPMScheduler.from_pretrained(_save(tmp_path, state), subfolder="scheduler")
    ours = state.model.diffusion.schedule.alpha_bar
    assert torch.allclose(theirs.alphas_cumprod.double(), ours, rtol=2e-5)
    assert theirs.config["prediction_type"] == "v_prediction"


def test_unconditional_checkpoint_is_a_diffusers_pipeline(tmp_path: Path) -> None:
    url = _save(tmp_path, _trained(PLAIN, 1))
    pipe: Any = DDPMPipeline.from_pretrained(url)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(batch_size=2, num_inference_steps=2, output_type="np").images
    assert images.shape == (2, 8, 8, 1)


def test_newest_good_checkpoint_is_found_and_damaged_ones_passed_over(tmp_path: Path) -> None:
    state = _trained(LABELLED, 1)
    good = _save(tmp_path, state)
    state.step = 2
    newer = Path(_save(tmp_path, state))
    assert latest_good(str(tmp_path)) == str(newer)
    (newer / "training" / "00000.safetensors").unlink()
    assert resolve(str(tmp_path)) == good
    state.step = 3
    unfinished = Path(_save(tmp_path, state))
    (unfinished / "checkpoint.json").unlink()
    assert checkpoint_urls(str(tmp_path)) == [str(newer), good]
    with pytest.raises(ConfigError, match=r"training/00000\.safetensors is missing"):
        resolve(str(newer))


@pytest.mark.parametrize("name", ["model.json", "unet/diffusion_pytorch_model.safetensors", "training/state.json"])
def test_flipped_byte_is_found_on_loading(tmp_path: Path, name: str) -> None:
    url = _save(tmp_path, _trained(LABELLED, 1))
    path = Path(url) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match="SHA-256"):
        load_training(url) if name == "training/state.json" else load_model(url)


def test_damaged_record_is_named(tmp_path: Path) -> None:
    url = Path(_save(tmp_path, _trained(LABELLED, 1)))
    record = json.loads((url / "checkpoint.json").read_text())
    (url / "checkpoint.json").write_text(json.dumps(record | {"step": "many"}))
    with pytest.raises(CorruptDataError, match="step"):
        read_record(str(url))
    assert latest_good(str(tmp_path)) is None


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    state = _trained(LABELLED, 1)
    for step in (1, 2, 3):
        state.step = step
        _save(tmp_path, state)
    assert len(prune(str(tmp_path), keep=2, step=3)) == 1
    assert [url[-1] for url in checkpoint_urls(str(tmp_path))] == ["3", "2"]


def test_checkpoints_are_found_however_the_run_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = _trained(LABELLED, 1)
    monkeypatch.chdir(tmp_path)
    for run in ("run", "./run/", f"file://{tmp_path}/run", "memory://bucket/a//run", "memory://bucket/run/"):
        for step in (1, 2):
            state.step = step
            _save(run, state)
        assert [url[-1] for url in checkpoint_urls(run)] == ["2", "1"], run
        assert [url[-1] for url in prune(run, keep=1, step=2)] == ["1"]


def test_prune_never_removes_the_step_just_saved_for_later_ones_that_could_not_be_read(tmp_path: Path) -> None:
    state = _trained(LABELLED, 1)
    for step in (1, 2, 3, 8, 9):
        state.step = step
        _save(tmp_path, state)
    for step in (2, 8):  # as a killed writer leaves them
        (tmp_path / f"checkpoints/step-{step:09d}/checkpoint.json").unlink()
    assert [url[-1] for url in prune(str(tmp_path), keep=1, step=3)] == ["1", "2"]
    assert sorted(folder.name[-1] for folder in (tmp_path / "checkpoints").iterdir()) == ["3", "8", "9"]


def test_a_checkpoint_of_another_format_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    url = Path(_save(tmp_path, _trained(LABELLED, 1)))
    record = json.loads((url / "checkpoint.json").read_text())
    (url / "checkpoint.json").write_text(json.dumps(record | {"format_version": 1}))
    for look in (latest_good, resolve):
        with pytest.raises(ConfigError, match=r"checkpoint format 1, expected 2: made by another version .*step-000000001"):
            look(str(tmp_path))


def test_resolve_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no checkpoint|does not exist|no such"):
        resolve(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"no checkpoint|holds no"):
        resolve(str(tmp_path))


def test_state_of_another_model_is_refused(tmp_path: Path) -> None:
    snapshot = load_training(_save(tmp_path, _trained(LABELLED, 1)))
    other = ModelConfig(image=ImageConfig(size=8, channels=1, num_classes=5), network=NETWORK)
    with pytest.raises(CorruptDataError, match="has shape"):
        TrainState(Model(other), OPTIM, torch.device("cpu")).load(snapshot.tensors, snapshot.averages, 1, snapshot.url)
