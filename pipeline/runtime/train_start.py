"""Trainers and loaders of a training job that find no room on the cluster are named, while the job waits for it to grow, and
SIGTERM ends the job meanwhile.

Nothing else would tell: Ray Train says it in the log of a process that nobody reads, and asks for room again and again.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util import placement_group_table

from pipeline.runtime import loader_start
from pipeline.runtime.stopping import StopRequest, Terminated

_LOOK_EVERY_S = 1.0  # shorter than trainers take from their room to their first step: that is when there is more to save
_LAST_LOOK_TIMEOUT_S = 10.0  # a cluster that answers nothing any more does not hold up a job's end
_log = logging.getLogger(__name__)


def say_which_loaders_are_missing(loaders: list[ActorHandle], cpus_each: float) -> list[ObjectRef]:
    """Warns of loaders that have not started after a while, without waiting for them here; returns what each answers once it
    lives.

    Args:
        loaders: The actors.
        cpus_each: CPUs that Ray reserves for each.
    """
    starting: list[ObjectRef] = [loader.__ray_ready__.remote() for loader in loaders]

    def look() -> None:
        with contextlib.suppress(RayError):  # one that died is told by who asks it for batches
            loader_start.say_who_is_missing(starting, cpus_each, "--num-loaders or --workers.cpus-per-loader")

    threading.Thread(target=look, name="loader-start", daemon=True).start()
    return starting


@contextlib.contextmanager
def trainers_awaited(stop: StopRequest, starting: list[ObjectRef]) -> Iterator[None]:
    """Warns, once, of trainers that have had no room for a while in the block that runs them.

    Until they have it and all loaders live, nobody hears a request to stop, and no step is made that would have to be saved.

    Args:
        stop: The job's request to stop.
        starting: What each loader answers once it lives.

    Raises:
        Terminated: The job was asked to stop before.
    """
    if stop.is_set():  # asked of trainers that died before they stopped: what they saved is all there is
        raise Terminated
    over = threading.Event()
    job = ray.get_runtime_context().get_job_id()  # asked here: once Ray is shut down, asking would start another
    earlier = frozenset(_groups_of(job))  # of trainers that died, whom Ray may not have cleared away yet
    stop.has_hearer = False

    def look() -> None:
        waiting_since: float | None = None
        is_said = False
        while not over.wait(_LOOK_EVERY_S):
            groups = [group for name, group in _groups_of(job).items() if name not in earlier]
            if any(group["state"] == "CREATED" for group in groups):
                if _all_live(starting):
                    return
                continue
            bundles = [group["bundles"] for group in groups if group["state"] == "PENDING"]
            now = time.monotonic()
            if waiting_since is None:
                waiting_since = now if bundles else None
            elif bundles and not is_said and now - waiting_since >= loader_start.START_NOTICE_S:
                _log.warning(_what_trainers_lack([dict(each) for each in bundles[-1].values()]))
                is_said = True

    def listen() -> None:
        try:
            with contextlib.suppress(RayError):
                look()
        finally:
            stop.has_hearer = True  # also where Ray cannot be asked any more: there may be something to save

    thread = threading.Thread(target=listen, name="trainer-start", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_LAST_LOOK_TIMEOUT_S)
        stop.has_hearer = True


def _all_live(starting: list[ObjectRef]) -> bool:
    return not starting or not ray.wait(starting, num_returns=len(starting), timeout=0)[1]


def _groups_of(job: str) -> dict[str, Mapping[str, Any]]:
    """The groups of processes that this job has asked Ray to place together: the trainers, as nothing else does that here."""
    return {name: group for name, group in placement_group_table().items() if name.endswith(job)}


def _what_trainers_lack(bundles: list[dict[str, float]]) -> str:
    """Which resources are short, for so many trainers as there are bundles, each of which needs what is in it."""
    free, count = ray.available_resources(), len(bundles)
    needs = []
    for resource, each in sorted(bundles[0].items()):
        there, wanted = float(free.get(resource, 0.0)), each * count
        needs.append(
            f"{each:g} {resource} each, {wanted:g} in all, and {there:g} are free ({max(0.0, wanted - there):g} missing)"
        )
    return (
        f"{count} of {count} trainers have not started after {loader_start.START_NOTICE_S:.0f} s: "
        f"they need {'; '.join(needs)}; lower --num-workers or --workers.cpus-per-worker, or wait for the cluster to grow"
    )
