"""Loaders and trainers of a training that find no room on the cluster are named within seconds, with what is missing."""

import threading
import time
from typing import cast

import pytest
import ray
from ray.actor import ActorHandle
from ray.cluster_utils import Cluster
from ray.util import placement_group, remove_placement_group

from pipeline.runtime import loader_start, train_start
from pipeline.runtime.stopping import StopRequest, Terminated
from pipeline.runtime.train_start import say_which_loaders_are_missing, trainers_awaited

PATIENCE_S = 60.0


@ray.remote(num_cpus=3)
class Large:
    """A process that needs more than a small node has."""


def until_said(text: str, caplog: pytest.LogCaptureFixture) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while text not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.1)


def until_heard(stop: StopRequest) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not stop.has_hearer:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_finds_no_room_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = cluster.add_node(num_cpus=2)
    monkeypatch.setattr(loader_start, "START_NOTICE_S", 2.0)
    actors = [cast(ActorHandle, Large.remote()) for _ in range(2)]
    assert len(say_which_loaders_are_missing(actors, 3)) == 2
    lacking = "they need 3 CPUs each, 6 in all, and 2 are free (4 missing)"
    until_said(f"2 of 2 loaders have not started after 2 s: {lacking}", caplog)
    for actor in actors:
        ray.kill(actor)
    stop = StopRequest()
    with trainers_awaited(stop, []):
        group = placement_group([{"CPU": 3}] * 2)  # as Ray Train asks for its workers
        until_said("2 of 2 trainers have not started after 2 s: they need 3 CPU each, 6 in all, and 2 are free (4", caplog)
        time.sleep(3)
        assert not stop.has_hearer
    assert stop.has_hearer
    remove_placement_group(group)
    cluster.remove_node(node)


def test_nothing_is_said_of_trainers_that_have_room(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = cluster.add_node(num_cpus=2)
    monkeypatch.setattr(loader_start, "START_NOTICE_S", 0.5)
    earlier = placement_group([{"CPU": 1}])
    assert earlier.wait(PATIENCE_S)
    stop, missing = StopRequest(), cast(ActorHandle, Large.remote())
    with trainers_awaited(stop, [missing.__ray_ready__.remote()]):
        group = placement_group([{"CPU": 1}])
        assert group.wait(PATIENCE_S)
        time.sleep(3)
        assert not stop.has_hearer, "trainers without their loaders make no step"
        ray.kill(missing)
    remove_placement_group(group)
    with trainers_awaited(stop, []):
        time.sleep(3)
        assert not stop.has_hearer, "those that are there are of trainers that died"
        group = placement_group([{"CPU": 1}])
        assert group.wait(PATIENCE_S)
        until_heard(stop)
    remove_placement_group(earlier)
    assert "have not started" not in caplog.text
    remove_placement_group(group)
    cluster.remove_node(node)


def test_who_cannot_look_any_more_hears_sigterm_all_the_same(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, answers = StopRequest(), [{}]

    def look() -> dict[str, object]:
        return answers.pop() if answers else {"odd": None}["even"]  # pyright: ignore[reportReturnType]

    monkeypatch.setattr(train_start, "placement_group_table", look)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with trainers_awaited(stop, []):
        until_heard(stop)


def test_trainers_that_died_after_sigterm_are_not_started_again(cluster: Cluster) -> None:
    stop = StopRequest()
    stop.set()
    with pytest.raises(Terminated), trainers_awaited(stop, []):
        pytest.fail("they would wait for room, and nobody would hear another SIGTERM")
