"""A training whose run folder another job took over ends with an error, and writes nothing more."""

import threading
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from pipeline import storage
from pipeline.errors import CommitConflict
from pipeline.plans.commands import parse_train
from pipeline.plans.train_plan import plan_training
from pipeline.runtime.train_run import run_training


def checkpoints(run: Path) -> set[str]:
    """Names of the checkpoints that are there."""
    return {record.parent.name for record in run.glob("checkpoints/*/checkpoint.json")}


# Ray Train makes options of Ray Data, and calls some of them old itself.
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.timeout(900)
def test_a_training_that_was_taken_over_ends_without_another_checkpoint(cluster: Cluster, digits: str, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2)
    run = tmp_path / "run"
    line = f"digits --data {digits} --run-dir {run} --steps 100000 --checkpoint-every-s 1 --keep-checkpoints 1000"
    plan = plan_training(parse_train([*line.split(), "--workers.num-loaders", "1", "--metrics-port", "0"]).job)
    storage.put_once(str(run / "lease" / "000000000001.holder"), b"{}")
    left: list[set[str]] = []

    def take_over() -> None:
        deadline = time.monotonic() + 800
        while time.monotonic() < deadline and not checkpoints(run):
            time.sleep(0.05)
        storage.put_once(str(run / "lease" / "000000000002.holder"), b"{}")
        left.append(checkpoints(run))

    other = threading.Thread(target=take_over)
    other.start()
    with pytest.raises(CommitConflict, match="another job took over"):
        run_training(plan, storage.Fence(str(run), 1))
    other.join()
    # The one that was being written when the other job came may have been just beyond its last look.
    assert left[0], "no checkpoint came"
    assert len(checkpoints(run) - left[0]) <= 1
    cluster.remove_node(node)
