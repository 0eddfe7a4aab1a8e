"""Loaders leave room for trainers on the node that has what a trainer needs."""

from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from pipeline.plans.commands import parse_train
from pipeline.plans.train_plan import plan_training
from pipeline.runtime.train_run import run_training


# Ray Train makes options of Ray Data, and calls some of them old itself.
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.timeout(900)
def test_a_trainer_that_fits_on_one_node_only_finds_it_free_of_loaders(cluster: Cluster, digits: str, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=2), cluster.add_node(num_cpus=1)]
    line = f"digits --data {digits} --run-dir {tmp_path / 'run'} --steps 3 --metrics-port 0 --workers.num-loaders 2"
    line += " --workers.cpus-per-worker 2 --workers.cpus-per-loader 0.5"  # spread, they would leave 1.5 CPUs and 0.5
    outcome = run_training(plan_training(parse_train(line.split()).job), None)
    assert outcome.finished
    for node in nodes:
        cluster.remove_node(node)
