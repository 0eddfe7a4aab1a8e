"""A trainer that slept past its lease writes no file over those of the job that took its run over, and removes none."""

from pathlib import Path

import pytest
import torch

from pipeline import storage
from pipeline.checkpoints import checkpoint_urls, prune, save_checkpoint
from pipeline.errors import CommitConflict
from pipeline.models import ImageConfig, Model, ModelConfig
from pipeline.networks import UNetConfig
from pipeline.order import Cursor
from pipeline.training import OptimConfig, TrainState

NETWORK = UNetConfig(widths=(8, 16), blocks=1, attention=(False, False), norm_groups=4)


def hold(run: Path, token: int) -> storage.Fence:
    storage.put_once(str(run / "lease" / f"{token:012d}.holder"), b"{}")
    return storage.Fence(str(run), token)


def save(run: Path, step: int, fence: storage.Fence | None) -> None:
    model = ModelConfig(image=ImageConfig(size=8, channels=1), network=NETWORK)
    state = TrainState(Model(model, init_seed=1), OptimConfig(), torch.device("cpu"))
    save_checkpoint(
        str(run),
        step=step,
        model=state.model,
        averages=state.averages,
        training_tensors=state.tensors(),
        cursor=Cursor(samples_consumed=step * 4, fingerprint="f" * 32),
        config={},
        history=[],
        fence=fence,
    )


def files(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}


def test_whoever_holds_the_run_saves_and_prunes(tmp_path: Path) -> None:
    fence = hold(tmp_path, 1)
    for step in (1, 2, 3):
        save(tmp_path, step, fence)
    assert len(prune(str(tmp_path), 1, 3, fence)) == 2


def test_whoever_slept_past_the_lease_changes_nothing(tmp_path: Path) -> None:
    fence = hold(tmp_path, 1)
    for step in (1, 2):
        save(tmp_path, step, fence)
    hold(tmp_path, 2)
    before = files(tmp_path)
    for step in (2, 3):
        with pytest.raises(CommitConflict, match="another job took over"):
            save(tmp_path, step, fence)
    with pytest.raises(CommitConflict, match="another job took over"):
        prune(str(tmp_path), 1, 2, fence)
    assert files(tmp_path) == before


def test_whoever_falls_asleep_while_saving_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fence = hold(tmp_path, 1)
    put_replace = storage.put_replace
    put: list[str] = []

    def slow(url: str, data: bytes) -> None:
        put_replace(url, data)
        put.append(url)
        if len(put) == 3:
            hold(tmp_path, 2)

    monkeypatch.setattr(storage, "put_replace", slow)
    with pytest.raises(CommitConflict, match="another job took over"):
        save(tmp_path, 1, fence)
    assert len(put) == 3
    assert checkpoint_urls(str(tmp_path)) == []
