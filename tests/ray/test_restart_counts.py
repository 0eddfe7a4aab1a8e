"""A loader that Ray restarts again and again: the hub numbers its lives and adds their counts up."""

from typing import cast

import pytest
import ray
from ray.cluster_utils import Cluster
from ray_processes import asked_pids, kill

from pipeline.runtime import loader as loader_module
from pipeline.runtime.asking import asked
from pipeline.runtime.hub import start_hub, value_of
from pipeline.runtime.loader import Answer, LoaderArgs, report_all, start_loaders
from pipeline.shards import open_data
from pipeline.stream import ImageSpec, StreamConfig, make_order
from pipeline.telemetry import IMAGES_STREAMED, WORKER_RESTARTS

IMAGE = ImageSpec(size=8, channels=1, num_classes=10)
BATCH_SIZE = 24
LIVES = 3
PATIENCE_S = 250.0


def test_counts_of_all_lives_add_up(cluster: Cluster, digits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def be_patient(_: object) -> None:  # in here, as workers cannot import this file
        loader_module.LAST_REPORT_TIMEOUT_S = 120.0

    monkeypatch.setattr(loader_module, "LAST_REPORT_TIMEOUT_S", 120.0)
    node = cluster.add_node(num_cpus=1)
    index = open_data(digits)
    order = make_order(index, StreamConfig(batch_size=BATCH_SIZE, lanes=6, window=50), seed=5)
    hub = start_hub("train", 0, 0)
    args = LoaderArgs(name="loader", index=index, order=order, image=IMAGE, hub=hub.address)
    (loader,) = start_loaders(1, 0.5, args)
    lives = set()
    for life in range(LIVES):
        answer = cast(Answer, ray.get(loader.batches.remote(0, BATCH_SIZE, life, 1, None), timeout=PATIENCE_S))
        lives.add(answer.life)
        ray.get(loader.__ray_call__.remote(be_patient), timeout=PATIENCE_S)
        report_all([loader])
        values = asked(hub.handle.view.remote(), "the hub").values
        assert value_of(values, IMAGES_STREAMED.series()) == (life + 1) * BATCH_SIZE
        assert value_of(values, WORKER_RESTARTS.series()) == life
        kill(*ray.get(asked_pids([loader]), timeout=PATIENCE_S))
    assert len(lives) == LIVES
    ray.kill(loader)
    cluster.remove_node(node)
