"""What a generation job needs of its cluster, asked before the output is claimed: the corrected command may then use it."""

from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.errors import ClusterError
from pipeline.networks.compiling import missing_compiler
from pipeline.plans.generate_config import GenerateConfig
from pipeline.runtime.generator_pool import uses_gpus

_ANSWER_TIMEOUT_S = 120.0  # a process on each node, and torch imported in it


def check_cluster(config: GenerateConfig) -> None:
    """Returns where nothing is known that keeps samplers from working on the cluster; Ray must be connected.

    Raises:
        ClusterError: There is no GPU and one was asked for, or the network is to be compiled and no node where samplers could
            run now has a compiler. A node that does not answer, or is only to come, may have one.
    """
    use_gpus = uses_gpus(config)
    if not config.compiled:
        return
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU" if use_gpus else "CPU")]
    missing = [_missing_on(node, "cuda" if use_gpus else "cpu") for node in nodes]
    answered, silent = ray.wait(missing, num_returns=len(missing), timeout=_ANSWER_TIMEOUT_S) if missing else ([], [])
    names = [_answer(one) for one in answered]
    if names and not silent and all(names):
        places = "the only node" if len(names) == 1 else f"any of the {len(names)} nodes"
        raise ClusterError(
            f"compiled: got no compiler ({names[0]}) on {places} for samplers; install one, or leave --compiled out"
        )


def _missing_on(node: str, device: str) -> ObjectRef:
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    task: Any = ray.remote(missing_compiler).options(num_cpus=0, max_retries=0, scheduling_strategy=here)
    return task.remote(device)


def _answer(ref: ObjectRef) -> str | None:
    """What is missing on a node; None where nothing is, or where the node went away meanwhile."""
    try:
        return ray.get(ref)
    except RayError:
        return None
