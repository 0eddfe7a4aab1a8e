"""A training whose processes find no room on the cluster says within seconds what is missing, and begins once it has grown."""

import threading
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from pipeline.plans.commands import parse_train
from pipeline.plans.train_plan import plan_training
from pipeline.runtime import loader_start
from pipeline.runtime.train_run import run_training


# Ray Train makes options of Ray Data, and calls some of them old itself.
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.timeout(600)
def test_what_finds_no_room_is_named_and_waited_for(
    cluster: Cluster, digits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    small = cluster.add_node(num_cpus=2)
    monkeypatch.setattr(loader_start, "START_NOTICE_S", 3.0)
    flags = "--num-loaders 2 --workers.cpus-per-loader 3 --workers.cpus-per-worker 3 --workers.no-share-cpus --metrics-port 0"
    line = f"digits --data {digits} --run-dir {tmp_path}/run --steps 3 {flags}"
    plan = plan_training(parse_train(line.split()).job)
    expected = [
        "2 of 2 loaders have not started after 3 s: they need 3 CPUs each, 6 in all, and 2 are free (4 missing)",
        "1 of 1 trainers have not started after 3 s: they need 3 CPU each, 3 in all, and 2 are free (1 missing)",
    ]
    said: list[bool] = []

    def grow() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not all(text in caplog.text for text in expected):
            time.sleep(0.1)
        said.extend(text in caplog.text for text in expected)
        grown.append(cluster.add_node(num_cpus=10))

    grown: list[object] = []
    growing = threading.Thread(target=grow, daemon=True)
    growing.start()
    outcome = run_training(plan, None)
    growing.join()
    assert said == [True, True], caplog.text
    assert outcome.finished
    for node in (small, *grown):
        cluster.remove_node(node)


# As above.
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.timeout(600)
def test_nothing_is_said_where_there_is_room(
    cluster: Cluster, digits: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = cluster.add_node(num_cpus=2)
    line = f"digits --data {digits} --run-dir {tmp_path}/run --steps 3 --metrics-port 0"
    assert run_training(plan_training(parse_train(line.split()).job), None).finished
    assert "have not started" not in caplog.text
    cluster.remove_node(node)
