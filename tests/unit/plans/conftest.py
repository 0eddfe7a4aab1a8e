import pytest
import torch

from pipeline.checkpoints import save_checkpoint
from pipeline.models import Model
from pipeline.order import Cursor
from pipeline.plans.presets import preset
from pipeline.shards import open_source, pack
from pipeline.training import TrainState


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """1,797 digits of 8x8 pixels in four shards."""
    folder = tmp_path_factory.mktemp("plans") / "shards"
    pack(open_source("digits"), str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run folder with one checkpoint of the digits preset, before its first step."""
    folder = str(tmp_path_factory.mktemp("plans") / "run")
    config = preset("digits")
    state = TrainState(Model(config.model), config.optim, torch.device("cpu"))
    save_checkpoint(
        folder,
        step=1,
        model=state.model,
        averages=state.averages,
        training_tensors=state.tensors(),
        cursor=Cursor(samples_consumed=64, fingerprint="f" * 32),
        config=config.to_json(),
        history=[],
    )
    return folder
