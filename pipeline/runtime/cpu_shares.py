"""How many CPUs Ray reserves for a job's processes where a cluster has too few for all of them."""

import heapq

import ray
from ray._private.state import available_resources_per_node

RAY_CPU_UNIT = 1e-4  # CPUs; what Ray counts resources in
_STEP, _LEAST = 0.95, 1e-3


def fitting_cpus(wanted: list[tuple[int, float]], share: bool) -> float:
    """Returns the factor by which CPU reservations are multiplied so that all processes can be placed at once.

    Args:
        wanted: (number of processes, CPUs each) for every kind of process.
        share: Whether to shrink reservations; otherwise the factor is 1 and Ray waits for the cluster to grow.
    """
    return sharing_factor(wanted, _node_cpus()) if share else 1.0


def left_cpus(num_processes: int, cpus: float, claimed: float) -> float:
    """Returns how many CPUs each of so many processes can reserve of what others have left; 0 where that is nothing.

    Args:
        num_processes: How many.
        cpus: The most that each is to have.
        claimed: CPUs that were claimed a moment ago, wherever: Ray may not know yet that they are taken.
    """
    if sum(_node_cpus()) <= 0:  # a cluster that grows when something waits for CPUs
        return cpus
    left = [max(0.0, float(free.get("CPU", 0.0)) - claimed) for free in available_resources_per_node().values()]
    return cpus * sharing_factor([(num_processes, cpus)], left) if any(left) else 0.0


def sharing_factor(wanted: list[tuple[int, float]], nodes: list[float]) -> float:
    """Returns a factor in [0, 1], the largest or not much less, with which all processes find room on some node.

    Args:
        wanted: (number of processes, CPUs each) for every kind of process.
        nodes: CPUs of each node; where there are none at all, nothing is shared and the factor is 1.
    """
    demand, available = sum(count * cpus for count, cpus in wanted), sum(nodes)
    if available <= 0:
        return 1.0
    # Ray rounds each reservation to its unit, which must not lift the sum above what is there.
    spare = RAY_CPU_UNIT * sum(count for count, _ in wanted)
    factor = 1.0 if demand <= available else max(0.0, available - spare) / demand
    while factor > 0 and not _fit([(count, cpus * factor) for count, cpus in wanted], nodes):
        factor = factor * _STEP if factor > _LEAST else 0.0
    return factor


def _fit(wanted: list[tuple[int, float]], nodes: list[float]) -> bool:
    """Whether all find room when the largest are placed first, each where most is free."""
    free = [-int(cpus / RAY_CPU_UNIT + 0.5) for cpus in nodes]
    heapq.heapify(free)
    for count, cpus in sorted(wanted, key=lambda kind: -kind[1]):
        size = int(cpus / RAY_CPU_UNIT + 0.5)
        for _ in range(count if size else 0):
            if -free[0] < size:
                return False
            heapq.heapreplace(free, free[0] + size)
    return True


def _node_cpus() -> list[float]:
    return [float(node["Resources"].get("CPU", 0.0)) for node in ray.nodes() if node["Alive"]]
