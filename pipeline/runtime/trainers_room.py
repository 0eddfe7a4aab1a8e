"""Room for trainers, kept free while loaders are placed: Ray spreads loaders over all nodes, also over the only one that has
what a trainer needs (its GPU, or as many CPUs at once)."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.actor import ActorHandle
from ray.util.placement_group import placement_group, remove_placement_group

ROOM_TIMEOUT_S = 10.0
"""How long the cluster may take to find the room; where it must grow first, loaders are not held up longer."""
PLACED_TIMEOUT_S = 60.0
"""How long loaders may take to be placed beside it."""


@contextmanager
def trainers_room(count: int, resources: dict[str, float]) -> Iterator[list[ActorHandle]]:
    """Keeps room for trainers until the actors that the body puts into the list live, or do not for a minute.

    On a single node there is nothing to keep: `fitting_cpus` lets all processes fit on it together.

    Args:
        count: Number of trainers.
        resources: What each reserves, by Ray's names.
    """
    beside: list[ActorHandle] = []
    if sum(node["Alive"] for node in ray.nodes()) < 2:
        yield beside
        return
    room = placement_group([resources] * count, strategy="PACK")  # as Ray Train reserves it afterwards
    try:
        room.wait(ROOM_TIMEOUT_S)
        yield beside
        ray.wait([actor.__ray_ready__.remote() for actor in beside], num_returns=len(beside), timeout=PLACED_TIMEOUT_S)
    finally:
        remove_placement_group(room)
