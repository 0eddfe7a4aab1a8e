"""Copies of checkpoints for sampling: the same model without what training needs, whole or not there, whoever was killed."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from pipeline import storage
from pipeline.checkpoints import (
    copy_for_sampling,
    inspect_checkpoint,
    is_checkpoint,
    is_whole_copy,
    load_model,
    resolve,
    save_checkpoint,
)
from pipeline.errors import ConfigError, CorruptDataError
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.order import Cursor
from pipeline.training import OptimConfig, TrainState

NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)


def ours(folder: Path) -> str:
    config = ModelConfig(image=ImageConfig(size=8, channels=1, num_classes=3), network=NETWORK)
    state = TrainState(Model(config), OptimConfig(ema_lengths=(0.05, 0.1)), torch.device("cpu"))
    return save_checkpoint(
        str(folder / "run"),
        step=7,
        model=state.model,
        averages=state.averages,
        training_tensors=state.tensors(),
        cursor=Cursor(samples_consumed=0, fingerprint="f" * 32),
        config={},
        history=[],
    )


def foreign(folder: Path) -> str:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "add_attention": False}
    widths = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
    network = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, **blocks, **widths)  # pyright: ignore[reportArgumentType]
    network.save_pretrained(folder / "saved" / "unet")
    DDPMScheduler().save_pretrained(folder / "saved" / "scheduler")
    return str(folder / "saved")


@pytest.fixture(params=[ours, foreign], ids=["ours", "diffusers"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.param(tmp_path)


def files(folder: str | Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()}


def test_a_copy_is_the_same_model_without_what_training_needs(source: str, tmp_path: Path) -> None:
    info, copy = inspect_checkpoint(source), str(tmp_path / "copy")
    assert not is_whole_copy(copy)
    copy_for_sampling(source, copy, info.digest)
    assert is_whole_copy(copy)
    assert is_checkpoint(copy)
    assert resolve(copy) == copy
    assert inspect_checkpoint(copy) == info
    for length in info.ema_lengths or (None,):
        a, b = (load_model(url, length).model.network.state_dict() for url in (source, copy))
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not [name for name in files(copy) if name.startswith("training/")]


class Killed(Exception):
    """What happens to a writer after so many files."""


def test_a_copy_that_was_broken_off_anywhere_is_none_and_is_completed(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = inspect_checkpoint(source).digest
    copy_for_sampling(source, str(tmp_path / "copy"), digest)
    whole = files(tmp_path / "copy")
    put_once = storage.put_once
    for number in range(len(whole)):
        broken_off = tmp_path / f"after-{number}"

        def put_some(url: str, data: bytes, number: int = number, folder: Path = broken_off) -> bool:
            if (folder.exists() and len(files(folder)) == number) or not number:
                raise Killed
            return put_once(url, data)

        with monkeypatch.context() as killing:
            killing.setattr(storage, "put_once", put_some)
            with pytest.raises(Killed):
                copy_for_sampling(source, str(broken_off), digest)
        assert not is_whole_copy(str(broken_off))
        copy_for_sampling(source, str(broken_off), digest)
        assert files(broken_off) == whole


def test_another_model_or_none_is_not_copied(source: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match="the checkpoint changed: digest "):
        copy_for_sampling(source, str(tmp_path / "copy"), "0" * 64)
    assert not (tmp_path / "copy").exists()
    shutil.rmtree(source)
    assert not is_checkpoint(source)
    with pytest.raises((CorruptDataError, ConfigError)):
        copy_for_sampling(source, str(tmp_path / "copy"), "0" * 64)
