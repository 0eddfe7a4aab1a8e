"""Asking an actor that others depend on, such as the hub: never for ever."""

from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import GetTimeoutError

from pipeline.errors import NoAnswer

HUB = "the job's hub"
"""What messages call it."""
HUB_TIMEOUT_S = 120.0
"""For the hub, which answers from memory: beyond what Ray takes to find out that a node is gone."""
STORAGE_TIMEOUT_S = 600.0
"""For an actor that writes to storage before it answers: several operations, each retried for two minutes."""


def asked(ref: ObjectRef | list[ObjectRef], who: str, timeout_s: float = HUB_TIMEOUT_S) -> Any:
    """Returns what an actor answers.

    Args:
        ref: The call, or several.
        who: The actor, for the error.
        timeout_s: How long it is waited for.

    Raises:
        NoAnswer: It did not answer in time.
        RayError: It died, or its method raised.
    """
    try:
        return ray.get(ref, timeout=timeout_s)
    except GetTimeoutError as error:
        raise NoAnswer(
            f"got no answer from {who}, expected one within {timeout_s:.0f} s: it is stuck or out of reach"
        ) from error
