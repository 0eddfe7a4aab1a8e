"""Loaders that do not start are named, with what they lack; without that a cluster that is full looks like a hang."""

import logging

import ray
from ray import ObjectRef

START_NOTICE_S = 10.0
"""How long loaders may take to start before a warning says what they lack."""
_log = logging.getLogger(__name__)


def say_who_is_missing(starting: list[ObjectRef], cpus_each: float, lower: str = "num_loaders or cpus_per_loader") -> None:
    """Waits a while for loaders to start, and warns of those that do not.

    Args:
        starting: What each answers once it lives; nothing is waited for where there is none.
        cpus_each: CPUs that Ray reserves for each.
        lower: What the user may lower.
    """
    if not starting:
        return
    _, pending = ray.wait(starting, num_returns=len(starting), timeout=START_NOTICE_S)
    if pending:
        free = float(ray.available_resources().get("CPU", 0.0))
        wanted = len(pending) * cpus_each
        _log.warning(
            "%d of %d loaders have not started after %.0f s: they need %g CPUs each, %g in all, and %g are free "
            "(%g missing); lower %s, or wait for the cluster to grow",
            *(len(pending), len(starting), START_NOTICE_S, cpus_each, wanted, free, max(0.0, wanted - free), lower),
        )
